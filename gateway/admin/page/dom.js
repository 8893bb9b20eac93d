// What every view needs to draw: elements, words for states, times. All text goes in through textContent.

export const $ = (id) => document.getElementById(id);
export const words = (state) => String(state ?? "unknown").replaceAll("_", " ");
export const millis = (when) => (when === null || when === undefined ? NaN : new Date(when).getTime());

const TONES = {
  running: "good", starting: "busy", hot_reloading: "busy", restarting: "busy",
  restart_pending: "warn", stopping: "warn", stop_overdue: "warn", backoff: "warn", retry_wait: "warn", unknown: "warn",
  conflict: "bad", suppressed: "bad", failed: "bad", dead: "bad",
  committed: "good", applied: "good", probation: "busy", pending: "busy", rolled_back: "bad", rejected: "bad", // changes of the config
  held: "good", acquiring: "busy", releasing: "busy", fenced: "bad", lost: "bad", // leases
};

export function h(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

export function button(className, label, onClick) {
  const element = h("button", className, label);
  element.type = "button";
  element.addEventListener("click", onClick);
  return element;
}

/** On; or off, with the reason. Not `disabled`, which takes the focus away and with it the way to the reason. */
export function setReason(element, why) {
  element.setAttribute("aria-disabled", String(Boolean(why)));
  element.title = why;
  if (why) element.setAttribute("aria-description", why);
  else element.removeAttribute("aria-description");
}

export function setText(element, text) {
  // An equal text would still be a mutation, which live regions may read aloud.
  if (element.textContent !== text) element.textContent = text;
}

export function showState(element, state) {
  element.dataset.state = state;
  element.dataset.tone = TONES[state] ?? "calm";
  setText(element, words(state));
  return element;
}

/** How long ago, of two times in milliseconds. */
export function ago(then, now) {
  const seconds = Math.max(0, Math.floor((now - then) / 1000));
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ago`;
  return seconds < 86_400 ? `${Math.floor(seconds / 3_600)} h ago` : `${Math.floor(seconds / 86_400)} d ago`;
}

const formats = new Map(); // making one costs more than all else of a line of the journal

function format(date, options) {
  const key = JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat("en-GB", options));
  return formats.get(key).format(date);
}

export function clock(when, seconds) {
  const date = new Date(millis(when));
  if (Number.isNaN(date.getTime())) return "";
  const day = date.toDateString() === new Date().toDateString() ? {} : { day: "numeric", month: "short" };
  return format(date, { ...day, hour: "2-digit", minute: "2-digit", second: seconds });
}

/** Calls it at most once in so many milliseconds; a burst ends with a call. */
export function atMost(ms, call) {
  let timer = null;
  return () => {
    timer ??= setTimeout(() => {
      timer = null;
      call();
    }, ms);
  };
}

/** Calls it before the next frame, once however often it is asked for. No frame comes while nobody looks. */
export function eachFrame(call) {
  let frame = 0;
  return () => {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      call();
    });
  };
}

/** What this tab remembers. Storage may be refused altogether; then a reload forgets, no more. */
export function keep(key, value) {
  try {
    if (value) sessionStorage.setItem(`gateway.${key}`, value);
    else sessionStorage.removeItem(`gateway.${key}`);
  } catch { /* see above */ }
}

export function recall(key) {
  try { return sessionStorage.getItem(`gateway.${key}`); } catch { return null; }
}
