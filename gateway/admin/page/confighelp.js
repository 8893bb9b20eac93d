// What the config's schema says of a place: for the panel beside the editor, and for what the editor offers to write.

import { h } from "./dom.js";
import { ENTRY, placeAt, placeOf } from "./configplace.js";

const RELOADS = {
  live: "counts at once, nothing is interrupted",
  channel: "restarts the accounts that it touches",
  gateway: "restarts the gateway",
};
const KINDS = { string: "text", integer: "whole number", number: "number", boolean: "true or false", array: "list", object: "section" };

/** What is at the end of a path, or null. */
export function schemaAt(schema, path) {
  let place = schema;
  for (const step of path) {
    const entry = step === ENTRY ? place.items : place.additionalProperties;
    place = place.properties?.[step] ?? (entry || null);
    if (!place) return null;
  }
  return place;
}

const choices = (schema) => (schema.anyOf ? schema.anyOf.flatMap(choices) : [schema]);
const isSecret = (schema) => schema.writeOnly === true;

function kindOf(schema) {
  if (isSecret(schema)) return "secret: ${NAME}, {file: path} or a text";
  if (schema.enum) return `one of ${schema.enum.join(", ")}`;
  const kinds = choices(schema).filter(({ type }) => type !== "null").map((one) =>
    one.enum ? `one of ${one.enum.join(", ")}` : `${KINDS[one.type] ?? one.type}${rangeOf(one)}`);
  return [...new Set(kinds)].join(" or ");
}

function rangeOf({ type, minimum: least, maximum: most }) {
  if (type !== "integer" && type !== "number") return "";
  if (least !== undefined && most !== undefined) return `, ${least} to ${most}`;
  if (least !== undefined) return `, at least ${least}`;
  return most === undefined ? "" : `, at most ${most}`;
}

/** As the file would say it: all YAML, since JSON is. */
const shown = (value) => (typeof value === "string" ? value : JSON.stringify(value));

function fact(name, ...value) {
  return h("div", "", h("dt", "", name), h("dd", "", ...value));
}

function keyList(schema) {
  const items = Object.entries(schema.properties).map(([key, inner]) => {
    const needed = schema.required?.includes(key) ? "Needed. " : "";
    const [first] = (inner.description ?? inner.title ?? "").split(/(?<=\.)\s/);
    return h("li", "", h("code", "", key), ` ${needed}${first}`);
  });
  return h("ul", "keys", ...items);
}

/** Draws what is known of the place of an offset into the element. */
export function showHelp(element, schema, text, offset) {
  const found = helpFor(schema, text, offset);
  if (element.dataset.path === found.path.join(".")) return;
  element.dataset.path = found.path.join(".");
  element.replaceChildren(...partsOf(found));
}

function helpFor(schema, text, offset) {
  const { path } = placeOf(text, offset);
  // Of what is not known, the nearest that is.
  for (let length = path.length; length >= 0; length -= 1) {
    const place = schemaAt(schema, path.slice(0, length));
    if (place) return { path, place, unknown: path.slice(length) };
  }
  return { path, place: schema, unknown: path };
}

function partsOf({ path, place, unknown }) {
  const known = path.slice(0, path.length - unknown.length);
  const parts = [h("p", "help-path", h("code", "", known.join(".") || "the whole file"))];
  if (unknown.length) parts.push(h("p", "fault", `Nothing is known of ${unknown.join(".")} here.`));
  if (place.description) parts.push(h("p", "", place.description));
  const isSection = Boolean(place.properties);
  const facts = isSection ? [] : [fact("Takes", kindOf(place))];
  if (!isSection && place.default !== undefined && place.default !== null) facts.push(fact("Default", h("code", "", shown(place.default))));
  if (place.examples?.length) facts.push(fact("Example", h("code", "", shown(place.examples[0]))));
  if (!isSection && place["x-reload"]) facts.push(fact("A change", RELOADS[place["x-reload"]]));
  if (facts.length) parts.push(h("dl", "help-facts", ...facts));
  if (isSection) parts.push(keyList(place));
  return parts;
}

/** What may be written at a place, as the editor's completions want it; null for nothing. */
export function completionsAt(schema, text, offset) {
  const { path, typed, isKey } = placeAt(text, offset);
  const place = schemaAt(schema, path);
  if (!place) return null;
  const from = offset - /[^\s{[,]*$/.exec(typed)[0].length;
  if (isKey && place.properties) return { from, options: Object.entries(place.properties).map(keyOption), validFor: /^[\w.-]*$/ };
  const values = choices(place).flatMap((one) => one.enum ?? (one.type === "boolean" ? [true, false] : []));
  if (!values.length || (isKey && place.properties)) return null;
  return { from, options: values.map((value) => ({ label: String(value), type: "constant" })), validFor: /^\w*$/ };
}

function keyOption([key, inner]) {
  return {
    label: key,
    type: "property",
    apply: inner.properties || inner.additionalProperties || inner.items ? `${key}:` : `${key}: `,
    detail: kindOf(inner),
    info: inner.description,
  };
}
