/* What an attempt wrote, line by line. Lines are made of text nodes only; of terminal escapes the
   colours are understood, all others are shown as text. */
"use strict";
(() => {
  const { $, $$, connect } = window.runstream;
  const RANGE = 1 << 18;
  const MOST_BYTES = 4 << 20;
  const MOST_LINES = 20000;

  // eslint-disable-next-line no-control-regex
  const SGR = /\x1b\[([0-9;]*)m/g;
  const CONTROL = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
  const shown = (text) => text.replace(CONTROL, (c) => {
    const code = c.charCodeAt(0);
    return code < 32 ? String.fromCharCode(0x2400 + code) : `\\u${code.toString(16).padStart(4, "0")}`;
  });

  /* The state of colours after the codes of one escape. */
  function styled(state, codes) {
    const next = { ...state };
    const numbers = codes.split(";").map((code) => Number(code || 0));
    for (let place = 0; place < numbers.length; place += 1) {
      const code = numbers[place];
      if (code === 0) { next.colour = null; next.bold = next.dim = next.under = false; }
      else if (code === 1) next.bold = true;
      else if (code === 2) next.dim = true;
      else if (code === 4) next.under = true;
      else if (code === 22) next.bold = next.dim = false;
      else if (code === 24) next.under = false;
      else if (code === 39) next.colour = null;
      else if (code >= 30 && code <= 37) next.colour = code - 30;
      else if (code >= 90 && code <= 97) next.colour = code - 90;
      else if (code === 38 || code === 48) place += numbers[place + 1] === 5 ? 2 : 4;
    }
    return next;
  }
  const classOf = (state) => [
    state.colour == null ? "" : `a-${state.colour}`,
    state.bold ? "a-b" : "", state.dim ? "a-d" : "", state.under ? "a-u" : "",
  ].filter(Boolean).join(" ");

  function piece(into, text, state) {
    if (!text) return;
    const name = classOf(state);
    if (!name) { into.append(shown(text)); return; }
    const span = document.createElement("span");
    span.className = name;
    span.textContent = shown(text);
    into.append(span);
  }
  /* Put one line into its element; returns the colours that the next line begins with. */
  function paint(into, text, state) {
    into.replaceChildren();
    // Of a line that a program overwrote, what it wrote last.
    const back = text.replace(/\r+$/, "").lastIndexOf("\r");
    const visible = text.replace(/\r+$/, "").slice(back + 1);
    let at = 0;
    for (const found of visible.matchAll(SGR)) {
      piece(into, visible.slice(at, found.index), state);
      state = styled(state, found[1]);
      at = found.index + found[0].length;
    }
    piece(into, visible.slice(at), state);
    return state;
  }

  function viewer(root) {
    const lines = $(".lines", root);
    const foot = $("[data-foot]", root);
    const { execution, step, attempt, stream } = root.dataset;
    const base = `/v1/executions/${execution}/steps/${encodeURIComponent(step)}/output`;
    let offset = 0;
    let number = 0;
    let rest = "";
    let last = null;
    let state = {};
    let restState = {};
    let following = root.dataset.live === "yes";
    let ended = false;
    let busy = false;
    let again = false;
    let closed = false;
    let partial = false;

    function line() {
      number += 1;
      const element = document.createElement("div");
      element.className = "l";
      const link = document.createElement("a");
      if (!partial) {
        element.id = `L${number}`;
        link.href = `#L${number}`;
        link.textContent = String(number);
      }
      const text = document.createElement("span");
      element.append(link, text);
      return element;
    }
    function append(text) {
      const parts = (rest + text).split("\n");
      const fragment = document.createDocumentFragment();
      parts.forEach((part, place) => {
        const open = place === parts.length - 1;
        if (open && part === "") return;
        let element = place === 0 && last ? last : null;
        if (!element) { element = line(); fragment.append(element); }
        const begin = element === last ? restState : state;
        state = paint(element.lastChild, part, begin);
        restState = begin;
        last = open ? element : null;
      });
      rest = parts[parts.length - 1];
      if (rest === "") last = null;
      lines.append(fragment);
      const extra = lines.childElementCount - MOST_LINES;
      for (let count = 0; count < extra; count += 1) lines.firstElementChild.remove();
      if (following) lines.scrollTop = lines.scrollHeight;
      if (finder.value) find();
    }
    async function load() {
      if (busy) { again = true; return; }
      busy = true;
      try {
        for (;;) {
          const query = new URLSearchParams({ attempt, stream, offset, limit: RANGE });
          const answer = await fetch(`${base}/text?${query}`);
          if (closed) return;
          if (!answer.ok) { say(answer.status === 404 ? "Nothing was written." : "The output cannot be read now."); return; }
          const range = await answer.json();
          if (offset === 0 && range.total > MOST_BYTES) {
            partial = true;
            offset = range.total - (1 << 20);
            say(`The last megabyte of ${(range.total / 1e6).toFixed(1)} MB; the download has all of it.`);
            continue;
          }
          ended = range.ended;
          if (range.text) append(range.text);
          offset = range.offset + range.length;
          if (!range.length || offset >= range.total) break;
        }
        if (number === 0) say(ended ? "Nothing was written." : "Nothing has been written yet.");
        else if (foot.textContent.startsWith("Nothing")) say("");
      } finally {
        busy = false;
        if (again && !closed) { again = false; load(); }
      }
    }
    const say = (text) => { foot.textContent = text; };

    // ---- search ----
    const finder = $("[data-find]", root);
    let hits = [];
    let at = -1;
    function find() {
      const wanted = finder.value.toLowerCase();
      for (const hit of hits) hit.classList.remove("hit", "at");
      hits = wanted ? [...lines.children].filter((l) => l.lastChild?.textContent.toLowerCase().includes(wanted)) : [];
      for (const hit of hits) hit.classList.add("hit");
      $("[data-found]", root).textContent = wanted ? String(hits.length) : "";
    }
    function next() {
      if (!hits.length) return;
      hits[at]?.classList.remove("at");
      at = (at + 1) % hits.length;
      hits[at].classList.add("at");
      hits[at].scrollIntoView({ block: "center" });
      follow(false);
    }
    finder.addEventListener("input", () => { at = -1; find(); });
    finder.addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); next(); } });
    $("[data-find-next]", root).addEventListener("click", next);

    // ---- follow ----
    const button = $("[data-follow]", root);
    function follow(on) {
      following = on;
      button.setAttribute("aria-pressed", String(on));
      $("span", button).textContent = on ? "Pause" : "Follow";
      $("use", button).setAttribute("href", on ? "#i-pause" : "#i-play");
      if (on) lines.scrollTop = lines.scrollHeight;
    }
    button.hidden = root.dataset.live !== "yes";
    button.addEventListener("click", () => follow(!following));
    // Who scrolls back reads: nothing moves then.
    lines.addEventListener("wheel", (event) => { if (event.deltaY < 0) follow(false); }, { passive: true });
    lines.addEventListener("keydown", (event) => { if (["ArrowUp", "PageUp", "Home"].includes(event.key)) follow(false); });
    follow(following);
    $(".output-tools", root).hidden = false;

    function mark() {
      const target = /^#L\d+$/.test(location.hash) ? $(location.hash, lines) : null;
      $$(".target", lines).forEach((one) => one.classList.remove("target"));
      if (target) { follow(false); target.classList.add("target"); target.scrollIntoView({ block: "center" }); }
    }
    let stop = () => {};
    function restart() {
      lines.replaceChildren();
      rest = "";
      last = null;
      number = 0;
      state = {};
      partial = false;
    }
    if (root.dataset.live === "yes") {
      const query = new URLSearchParams({ attempt, stream, last: 1 << 20 });
      say("Nothing has been written yet.");
      stop = connect(`${base}/live?${query}`, {
        message: (chunk) => {
          if (number === 0 && chunk.index > 0) {
            partial = true;
            say("The last megabyte; the download has all of it.");
          } else if (foot.textContent.startsWith("Nothing")) say("");
          append(chunk.text);
        },
        end: () => { stop(); follow(false); button.hidden = true; if (number === 0) say("Nothing was written."); },
        problem: () => stop(),
        again: restart,
      });
    } else {
      load().then(mark);
    }
    addEventListener("hashchange", mark);
    return () => { closed = true; stop(); removeEventListener("hashchange", mark); };
  }

  const open = new Map();
  function settle() {
    for (const [root, close] of open) if (!root.isConnected) { close(); open.delete(root); }
    for (const root of $$("[data-output]")) if (!open.has(root)) open.set(root, viewer(root));
  }
  document.addEventListener("htmx:afterSettle", settle);
  settle();
})();
