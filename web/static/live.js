/* Connections to the live streams. The browser resumes one by itself with Last-Event-ID; where the
   server refused it, it is made anew with the last id in the address. A loss is said in the banner,
   and what is shown is marked as old. */
"use strict";
(() => {
  const { $, ago, now } = window.runstream;
  const PAUSES = [500, 1000, 2000, 5000, 10000];
  const HIDDEN = 20000;

  // A page that comes back from the browser's cache has missed what happened in between.
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

  // Connections that are lost, with since when.
  const away = new Map();
  function tell() {
    const banner = $("#connection");
    banner.hidden = !away.size;
    document.body.classList.toggle("stale", away.size > 0);
    if (!away.size) return;
    const since = Math.min(...away.values());
    const time = $("[data-lost]", banner);
    time.dateTime = new Date(since).toISOString();
    time.dataset.ago = "";
    time.textContent = ago(since);
  }

  /* `on` has a function for each kind of message; `message` is a record, the others have names.
     `again` stands for a stream that begins anew after an error. Returns what closes it. */
  function connect(address, on) {
    let source = null;
    let last = null;
    let failures = 0;
    const me = {};
    let closed = false;
    let timer = 0;

    function lost(after = 2000) {
      if (away.has(me)) return;
      away.set(me, now());
      // A reconnection within two seconds is not worth a line.
      clearTimeout(timer);
      timer = setTimeout(tell, after);
    }
    function found() {
      failures = 0;
      clearTimeout(timer);
      away.delete(me);
      if (!away.size) tell();
    }
    function hear(name) {
      source.addEventListener(name, (message) => {
        if (message.lastEventId) last = message.lastEventId;
        let data = null;
        try { data = JSON.parse(message.data); } catch { return; }
        if (name === "stale") lost(0);
        else if (name === "fresh") found();
        on[name]?.(data);
      });
    }
    function open() {
      if (closed) return;
      const url = new URL(address, location.href);
      if (last && !("again" in on)) url.searchParams.set("after", last);
      source = new EventSource(url);
      source.onopen = found;
      source.onerror = () => {
        if (closed) return;
        lost();
        // Else the browser connects again by itself, with Last-Event-ID.
        if (source.readyState !== EventSource.CLOSED) return;
        const pause = PAUSES[Math.min(failures++, PAUSES.length - 1)];
        setTimeout(() => { on.again?.(); open(); }, pause * (0.8 + Math.random() * 0.4));
      };
      for (const name of new Set([...Object.keys(on), "stale", "fresh"])) hear(name);
    }
    open();
    // Browsers open six connections to a host: a tab that nobody sees keeps none of them for long.
    let asleep = false;
    let hidden = 0;
    function seen() {
      clearTimeout(hidden);
      if (closed) return;
      if (document.hidden) {
        hidden = setTimeout(() => { asleep = true; source?.close(); }, HIDDEN);
      } else if (asleep) {
        asleep = false;
        on.again?.();
        open();
      }
    }
    const close = () => {
      closed = true;
      clearTimeout(timer);
      clearTimeout(hidden);
      if (away.delete(me)) tell();
      document.removeEventListener("visibilitychange", seen);
      source?.close();
    };
    document.addEventListener("visibilitychange", seen);
    addEventListener("pagehide", close);
    return close;
  }

  /* Call `work` once, soon, however often this is called: at most once in `pause` milliseconds. */
  function throttled(work, pause) {
    let due = 0;
    let timer = 0;
    return () => {
      if (timer) return;
      timer = setTimeout(() => {
        timer = 0;
        due = Date.now() + pause;
        work();
      }, Math.max(0, due - Date.now()));
    };
  }

  Object.assign(window.runstream, { connect, throttled });
})();
