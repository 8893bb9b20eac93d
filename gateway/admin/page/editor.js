// The editor: CodeMirror, loaded when it is first needed, in a shadow root of its own.
// There its styles are adopted sheets: the page allows no style that stands in a document.

import { h } from "./dom.js";

const MARK = "__REDACTED__";
const LEAVE = "Press Escape, then Tab, to leave the editor.";
let loaded = null;

/** The library. What failed to load is tried again when it is asked for again. */
const library = () => (loaded ??= import("./vendor/codemirror.js").catch((error) => {
  loaded = null;
  throw error;
}));

/** Lines end as they do in the text, or a text that nobody has changed would be another one. */
const lineEndOf = (text) => (/\r\n/.test(text) && !/(^|[^\r])\n/.test(text) ? "\r\n" : "\n");

/** `onChange` is called when a person has changed the text, `onPlace` when the cursor is somewhere else. */
export class Editor {
  #host;
  #label;
  #hooks;
  #cm = null;
  #view = null;
  #parts = null; // what changes while it is open
  #loading = null;

  constructor(host, label, hooks) {
    this.#host = host;
    this.#label = label;
    this.#hooks = hooks;
  }

  /** Raises what the import raises. */
  open() {
    this.#loading ??= this.#make().catch((error) => {
      this.#loading = null;
      throw error;
    });
    return this.#loading;
  }

  get isOpen() { return this.#view !== null; }

  get text() { return this.#view ? this.#view.state.sliceDoc() : ""; }

  get place() { return this.#view.state.selection.main.head; }

  /** Another text, with a history of its own. */
  set(text) {
    this.#view.setState(this.#cm.EditorState.create({ doc: text, extensions: this.#extensions(lineEndOf(text)) }));
    this.#hooks.onPlace();
  }

  /** Marks faults: `{line, column, message}`, counted from 1; those without a place are not shown here. */
  mark(faults) {
    const { state } = this.#view;
    const marks = faults.filter(({ line }) => line).map(({ line: number, column = 1, message }) => {
      const line = state.doc.line(Math.min(number, state.doc.lines));
      const from = Math.min(line.from + column - 1, line.to);
      const word = /^[^\s:,\]}]+/.exec(state.sliceDoc(from, line.to));
      return { from, to: from + (word?.[0].length ?? 0), severity: "error", message };
    });
    this.#view.dispatch(this.#cm.setDiagnostics(state, marks));
  }

  goTo(number, column = 1) {
    const line = this.#view.state.doc.line(Math.min(number, this.#view.state.doc.lines));
    const anchor = Math.min(line.from + column - 1, line.to);
    this.#view.dispatch({ selection: { anchor }, effects: this.#cm.EditorView.scrollIntoView(anchor, { y: "center" }) });
    this.#view.focus();
  }

  /** Shows what differs from another text, with buttons to keep or to take each of it; null shows nothing any more. */
  compare(other) {
    const { unifiedMergeView } = this.#cm;
    const options = { original: other ?? "", mergeControls: mergeControl, syntaxHighlightDeletions: true };
    this.#view.dispatch({ effects: this.#parts.merge.reconfigure(other === null ? [] : unifiedMergeView(options)) });
  }

  async #make() {
    this.#cm = await library();
    const { Compartment, EditorView } = this.#cm;
    this.#parts = { merge: new Compartment() };
    const root = this.#host.attachShadow({ mode: "open" });
    this.#view = new EditorView({ parent: root, root });
    this.set("");
  }

  #extensions(lineEnd) {
    const cm = this.#cm;
    const { EditorState, EditorView, keymap } = cm;
    return [
      EditorState.lineSeparator.of(lineEnd), EditorState.tabSize.of(2),
      cm.lineNumbers(), cm.lintGutter(), cm.foldGutter(), cm.highlightSpecialChars(), cm.drawSelection(),
      cm.history(), cm.indentOnInput(), cm.bracketMatching(), cm.closeBrackets(),
      cm.highlightActiveLine(), cm.highlightActiveLineGutter(), cm.highlightSelectionMatches(),
      cm.autocompletion({ icons: false, override: [(context) => this.#complete(context)] }),
      keymap.of([
        ...cm.closeBracketsKeymap, ...cm.defaultKeymap, ...cm.searchKeymap, ...cm.historyKeymap, ...cm.foldKeymap,
        ...cm.completionKeymap, ...cm.lintKeymap, cm.indentWithTab,
      ]),
      EditorView.contentAttributes.of({ "aria-label": this.#label, "aria-description": LEAVE, spellcheck: "false" }),
      EditorView.updateListener.of((update) => {
        if (update.docChanged) this.#hooks.onChange();
        if (update.docChanged || update.selectionSet) this.#hooks.onPlace();
      }),
      ...looks(cm), this.#parts.merge.of([]),
    ];
  }

  #complete(context) {
    if (!context.explicit && !context.matchBefore(/[\w.-]+$/)) return null;
    return this.#hooks.complete(context.state.sliceDoc(), context.pos);
  }
}

/** Draws what differs between two texts into the element, for reading alone. Raises what the import raises. */
export async function showDifference(element, label, before, after) {
  const cm = await library();
  const { EditorState, EditorView } = cm;
  const root = element.shadowRoot ?? element.attachShadow({ mode: "open" });
  root.replaceChildren();
  return new EditorView({
    doc: after, parent: root, root,
    extensions: [
      EditorState.readOnly.of(true), EditorState.lineSeparator.of(lineEndOf(after)), cm.lineNumbers(), ...looks(cm),
      EditorView.contentAttributes.of({ "aria-label": label, "aria-readonly": "true" }),
      cm.unifiedMergeView({ original: before, mergeControls: false, collapseUnchanged: { margin: 2, minSize: 5 } }),
    ],
  });
}

function mergeControl(kind, act) {
  const control = h("button", `merge-${kind}`, kind === "accept" ? "Keep mine" : "Take theirs");
  control.type = "button";
  control.addEventListener("mousedown", (event) => event.preventDefault()); // the editor keeps the focus
  control.addEventListener("click", act);
  return control;
}

// Looks: the colours are the page's own, and change with them.

function looks(cm) {
  const { EditorView, HighlightStyle, tags, syntaxHighlighting } = cm;
  const colours = HighlightStyle.define([
    { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: "var(--accent-ink)" },
    { tag: tags.string, color: "var(--good)" },
    { tag: tags.comment, color: "var(--ink-soft)", fontStyle: "italic" },
    { tag: [tags.labelName, tags.typeName, tags.keyword, tags.meta], color: "var(--warn)" },
    { tag: [tags.separator, tags.punctuation, tags.bracket, tags.squareBracket, tags.brace], color: "var(--ink-soft)" },
  ]);
  return [cm.yaml(), syntaxHighlighting(colours), EditorView.theme(THEME), EditorView.lineWrapping, marksOf(cm)];
}

/** What stands for a secret looks like one thing, and says what it is. */
function marksOf({ Decoration, MatchDecorator, ViewPlugin }) {
  const decoration = Decoration.mark({ class: "cm-secret", attributes: { title: "A secret: left as it is, it stays what it is" } });
  const matcher = new MatchDecorator({ regexp: new RegExp(MARK, "g"), decoration });
  return ViewPlugin.define((view) => ({
    marks: matcher.createDeco(view),
    update(update) { this.marks = matcher.updateDeco(update, this.marks); },
  }), { decorations: (plugin) => plugin.marks });
}

const tint = (colour, percent, on = "transparent") => `color-mix(in srgb, var(${colour}) ${percent}%, ${on})`;
const BUTTON = {
  font: "inherit", fontSize: "0.8125rem", color: "var(--ink)", background: "var(--surface)", cursor: "pointer",
  border: "1px solid var(--field-line)", borderRadius: "6px", padding: "0.1rem 0.6rem", margin: "0 0 0 0.3rem",
};

const THEME = {
  "&": { color: "var(--ink)", backgroundColor: "var(--surface)", fontSize: "var(--editor-size, 0.875rem)" },
  "&.cm-focused": { outline: "none" }, // the host has it: the gutter would cover this one
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.6", minHeight: "var(--editor-least, 0)", maxHeight: "var(--editor-most, none)" },
  ".cm-content": { padding: "0.6rem 0", caretColor: "var(--ink)" },
  ".cm-line": { padding: "0 0.75rem 0 0.4rem" },
  ".cm-gutters": { color: "var(--ink-soft)", backgroundColor: "var(--surface)", border: "none" },
  ".cm-lineNumbers .cm-gutterElement": { padding: "0 0.4rem 0 0.6rem", minWidth: "2rem" },
  ".cm-gutter-lint": { width: "1.1rem" },
  ".cm-gutter-lint .cm-gutterElement": { padding: "0.25rem 0 0 0.2rem" },
  ".cm-activeLine": { backgroundColor: tint("--accent", 6) },
  ".cm-activeLineGutter": { backgroundColor: tint("--accent", 6), color: "var(--ink)" },
  ".cm-cursor": { borderLeftColor: "var(--ink)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": { background: tint("--accent", 28) },
  ".cm-selectionMatch": { backgroundColor: tint("--warn", 18) },
  ".cm-foldPlaceholder": { color: "var(--ink-soft)", backgroundColor: "var(--sunken)", border: "1px solid var(--line)" },
  "&.cm-focused .cm-matchingBracket": { backgroundColor: tint("--accent", 20) },
  "&.cm-focused .cm-nonmatchingBracket": { backgroundColor: tint("--bad", 20) },
  ".cm-secret": { backgroundColor: "var(--sunken)", borderRadius: "4px" },
  ".cm-secret, .cm-secret *": { color: "var(--ink-soft)" },
  ".cm-lintRange-error": { backgroundImage: "none", textDecoration: "underline wavy var(--bad) 1.5px", textUnderlineOffset: "3px" },
  ".cm-lintPoint-error:after": { borderBottomColor: "var(--bad)" },
  ".cm-tooltip": { color: "var(--ink)", backgroundColor: "var(--surface)", border: "1px solid var(--field-line)", borderRadius: "8px", overflow: "hidden", maxWidth: "calc(100vw - 1rem)" },
  ".cm-tooltip-autocomplete > ul": { fontFamily: "var(--mono)" },
  ".cm-tooltip-autocomplete > ul > li": { padding: "0.15rem 0.6rem" },
  ".cm-tooltip-autocomplete > ul > li[aria-selected]": { color: "var(--on-accent)", background: "var(--accent)" },
  ".cm-completionDetail": { fontStyle: "normal", opacity: "0.8", marginLeft: "1rem" },
  ".cm-tooltip.cm-completionInfo": { padding: "0.5rem 0.7rem", maxWidth: "22rem", fontSize: "0.8125rem" },
  ".cm-diagnostic": { padding: "0.35rem 0.7rem", borderLeft: "4px solid var(--bad)" },
  ".cm-panels": { color: "var(--ink)", backgroundColor: "var(--sunken)", borderColor: "var(--line)" },
  ".cm-panel input, .cm-textfield": { color: "var(--ink)", backgroundColor: "var(--surface)", border: "1px solid var(--field-line)", borderRadius: "6px" },
  ".cm-panel button, .cm-button": { ...BUTTON, backgroundImage: "none" },
  "&.cm-merge-b .cm-changedLine": { backgroundColor: tint("--good", 12) },
  "&.cm-merge-b .cm-changedText": { background: tint("--good", 26) },
  ".cm-deletedChunk": { backgroundColor: tint("--bad", 9), padding: "0 0.75rem 0 0.4rem" },
  "&.cm-merge-b .cm-deletedChunk .cm-deletedText": { background: tint("--bad", 24) },
  ".cm-changeGutter": { width: "3px" },
  ".cm-changedLineGutter": { background: "var(--good)" },
  ".cm-deletedLineGutter": { background: "var(--bad)" },
  ".cm-collapsedLines": { color: "var(--ink-soft)", background: "var(--sunken)", padding: "0.2rem 0.75rem", fontFamily: "inherit" },
  ".cm-collapsedLines:before, .cm-collapsedLines:after": { content: "none !important" },
  ".cm-deletedChunk .cm-chunkButtons": { position: "static", display: "flex", justifyContent: "end", padding: "0.2rem 0", fontFamily: "system-ui, sans-serif" },
  ".cm-deletedChunk .cm-chunkButtons button": BUTTON,
};
