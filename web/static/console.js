/* What every page needs: times that go on, copying, keys, the theme, dialogs and the panel.
   Text from the server or from users is only ever set as text. */
"use strict";
(() => {
  const $ = (selector, within = document) => within.querySelector(selector);
  const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

  // ---- times -------------------------------------------------------------------------------
  // Clocks of people's machines are wrong: ages are counted by the server's, as of the page.
  const skew = (() => {
    const entry = performance.getEntriesByType("navigation")[0];
    const sent = Date.parse(document.documentElement.dataset.now || "");
    return Number.isNaN(sent) || !entry ? 0 : sent - (performance.timeOrigin + entry.responseStart);
  })();
  const now = () => Date.now() + skew;

  function ago(at) {
    const seconds = (now() - at) / 1000;
    const size = Math.abs(seconds);
    let text;
    if (size < 5) return "now";
    if (size < 60) text = `${Math.floor(size)} s`;
    else if (size < 3600) text = `${Math.floor(size / 60)} min`;
    else if (size < 86400) text = `${Math.floor(size / 3600)} h`;
    else text = `${Math.floor(size / 86400)} d`;
    return seconds > 0 ? `${text} ago` : `in ${text}`;
  }

  function duration(seconds) {
    const two = (value) => String(value).padStart(2, "0");
    if (seconds < 10) return `${Math.max(0, seconds).toFixed(1)} s`;
    const whole = Math.round(seconds);
    if (whole < 60) return `${whole} s`;
    const joined = (many, unit, few, smaller) => `${many} ${unit}${few ? ` ${two(few)} ${smaller}` : ""}`;
    if (whole < 3600) return joined(Math.floor(whole / 60), "min", whole % 60, "s");
    if (whole < 86400) return joined(Math.floor(whole / 3600), "h", Math.floor((whole % 3600) / 60), "min");
    return joined(Math.floor(whole / 86400), "d", Math.floor((whole % 86400) / 3600), "h");
  }

  function tick() {
    if (document.hidden) return;
    for (const element of $$("time[data-ago]")) {
      const text = ago(Date.parse(element.dateTime));
      if (element.textContent !== text) element.textContent = text;
    }
    for (const element of $$("[data-since]")) {
      const text = duration((now() - Date.parse(element.dataset.since)) / 1000);
      if (element.textContent !== text) element.textContent = text;
    }
  }
  setInterval(tick, 1000);

  // ---- copying -----------------------------------------------------------------------------
  async function copy(button) {
    const text = button.dataset.copy;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Without a secure context there is no clipboard: the old way.
      const area = document.createElement("textarea");
      area.value = text;
      area.className = "visually-hidden";
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      button.focus();
    }
    const symbol = $("use", button);
    button.classList.add("done");
    symbol.setAttribute("href", "#i-check");
    setTimeout(() => {
      button.classList.remove("done");
      symbol.setAttribute("href", "#i-copy");
    }, 1500);
  }

  // ---- theme -------------------------------------------------------------------------------
  const THEMES = ["system", "light", "dark"];
  const SYMBOLS = { system: "system", light: "sun", dark: "moon" };
  function switchTheme(button) {
    const root = document.documentElement;
    const theme = THEMES[(THEMES.indexOf(root.dataset.theme) + 1) % THEMES.length];
    root.dataset.theme = theme;
    document.cookie = `runstream-theme=${theme}; path=/; max-age=31536000; samesite=lax`;
    button.title = `Theme: ${theme}`;
    button.setAttribute("aria-label", button.title);
    $("use", button).setAttribute("href", `#i-${SYMBOLS[theme]}`);
  }

  // ---- clicks ------------------------------------------------------------------------------
  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target : null;
    if (!target) return;
    const button = target.closest("[data-copy]");
    if (button) {
      event.preventDefault();
      copy(button);
    } else if (target.closest("[data-help]")) {
      $("#keys").showModal();
    } else if (target.closest("[data-theme-switch]")) {
      event.preventDefault();
      switchTheme(target.closest("[data-theme-switch]"));
    } else if (target.closest("[data-close-dialog]")) {
      event.preventDefault();
      target.closest("dialog").close();
    } else if (target.closest("[data-menu]")) {
      event.preventDefault();
      $("#nav").classList.add("open");
      $("#nav .nav-close").focus();
    } else if (target.closest("[data-menu-close]")) {
      $("#nav").classList.remove("open");
    }
  });
  // A click beside a dialog closes it.
  for (const dialog of $$("dialog")) {
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close();
    });
  }
  // What htmx puts into the dialog is shown as one; without script the same link is a page.
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.target.id === "dialog" && !event.target.open) event.target.showModal();
  });

  // What htmx could not do is said, wherever its answer would have gone.
  function complain(...nodes) {
    const dialog = $("#dialog");
    if (!dialog) return;
    dialog.replaceChildren(...nodes);
    if (!dialog.open) dialog.showModal();
  }
  document.addEventListener("htmx:responseError", (event) => {
    const page = new DOMParser().parseFromString(event.detail.xhr.responseText, "text/html");
    const part = $("#confirm", page);
    if (part) complain(document.adoptNode(part));
    else location.reload();
  });
  document.addEventListener("htmx:sendError", () => {
    const text = document.createElement("p");
    text.className = "dialog-body";
    text.textContent = "The server does not answer. Try again in a moment.";
    complain(text);
  });

  // On narrow screens the current tab and chip may be beyond the edge.
  function reveal() {
    for (const one of $$(".tabs a[aria-current], .chips a[aria-current]")) {
      const bar = one.parentElement;
      if (bar.scrollWidth > bar.clientWidth) bar.scrollLeft = one.offsetLeft - bar.offsetLeft - 24;
    }
  }
  document.addEventListener("htmx:afterSettle", reveal);
  reveal();

  // ---- keys --------------------------------------------------------------------------------
  const PLACES = { e: "/executions", a: "/approvals" };
  let waiting = false;

  function rows() {
    return $$("[data-row]").filter((row) => row.offsetParent !== null);
  }
  function step(by) {
    const all = rows();
    if (!all.length) return;
    const at = all.findIndex((row) => row.contains(document.activeElement));
    const next = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + by))];
    const link = next.matches("a, button") ? next : $("a.row-link, a, button", next);
    link?.focus();
    next.scrollIntoView({ block: "nearest" });
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
    if (event.key === "Escape") {
      if (typing) typing.blur();
      else if ($("#nav")?.classList.contains("open")) $("#nav").classList.remove("open");
      else if (!$("dialog[open]")) $("[data-close-panel]")?.click();
      return;
    }
    if (typing || $("dialog[open]")) return;
    if (waiting && PLACES[event.key]) {
      location.assign(PLACES[event.key]);
      return;
    }
    waiting = event.key === "g";
    if (waiting) setTimeout(() => { waiting = false; }, 1500);
    if (event.key === "/") {
      const field = $("[data-search]");
      if (field) { event.preventDefault(); field.focus(); field.select(); }
    } else if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
    else if (event.key === "?") $("#keys").showModal();
  });

  window.runstream = { $, $$, ago, duration, now, tick };
})();
