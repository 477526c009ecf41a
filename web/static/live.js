/* One connection to the events of the tenant or of one execution. The browser resumes it by itself
   with Last-Event-ID; where the server ends it for good, it is made anew with the last id in the
   address. A loss is said in the banner, and what is shown is marked as old. */
"use strict";
(() => {
  const { $, ago, now } = window.runstream;
  const PAUSES = [500, 1000, 2000, 5000, 10000];

  function connect(address, names, receive) {
    let source = null;
    let last = null;
    let failures = 0;
    let lostAt = null;
    let closed = false;
    let timer = 0;

    function lost() {
      if (lostAt === null) lostAt = now();
      // A reconnection within two seconds is not worth a line.
      clearTimeout(timer);
      timer = setTimeout(() => {
        if (lostAt === null || closed) return;
        const banner = $("#connection");
        const time = $("[data-lost]", banner);
        time.dateTime = new Date(lostAt).toISOString();
        time.dataset.ago = "";
        time.textContent = ago(lostAt);
        banner.hidden = false;
        document.body.classList.add("stale");
      }, 2000);
    }
    function found() {
      failures = 0;
      lostAt = null;
      clearTimeout(timer);
      $("#connection").hidden = true;
      document.body.classList.remove("stale");
    }
    function open() {
      if (closed) return;
      const url = new URL(address, location.href);
      if (last) url.searchParams.set("last_event_id", last);
      source = new EventSource(url);
      source.onopen = found;
      source.onerror = () => {
        lost();
        if (source.readyState !== EventSource.CLOSED) return;
        const pause = PAUSES[Math.min(failures++, PAUSES.length - 1)];
        setTimeout(open, pause * (0.8 + Math.random() * 0.4));
      };
      for (const name of names) {
        source.addEventListener(name, (message) => {
          if (message.lastEventId) last = message.lastEventId;
          let data;
          try { data = JSON.parse(message.data); } catch { return; }
          receive(name, data);
        });
      }
    }
    open();
    const close = () => { closed = true; clearTimeout(timer); source?.close(); };
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
