/* One execution while it goes on: the stream says that something happened, and the parts that show
   it are asked for again, at most once a second; clocks and bars go on in between. */
"use strict";
(() => {
  const { $, $$, connect, throttled, now, duration } = window.runstream;
  const head = $("#head");
  if (!head) return;
  const id = head.dataset.execution;

  // ---- the bar of time ----
  function budget() {
    const svg = $(".budget svg[data-begin]");
    if (!svg) return;
    const elapsed = (now() - Date.parse(svg.dataset.begin)) / 1000;
    const share = Math.min(100, (100 * elapsed) / Number(svg.dataset.scale));
    $(".spent", svg).setAttribute("width", `${share.toFixed(2)}%`);
  }
  setInterval(budget, 1000);

  // ---- buttons that are not allowed say why ----
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-why]");
    if (!button) return;
    event.preventDefault();
    const dialog = $("#dialog");
    const body = document.createElement("div");
    body.className = "dialog-body";
    const title = document.createElement("h2");
    title.id = "dialog-title";
    title.textContent = `${button.textContent.trim()} is not possible`;
    const text = document.createElement("p");
    text.textContent = button.dataset.why;
    const form = document.createElement("form");
    form.method = "dialog";
    const close = document.createElement("button");
    close.className = "button";
    close.textContent = "Close";
    form.append(close);
    body.append(title, text, form);
    dialog.replaceChildren(body);
    dialog.showModal();
  });

  // ---- parts that have changed ----
  async function parts(selectors) {
    const answer = await fetch(location.href, { headers: { "X-Runstream-Refresh": "1" } });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    // Output that has begun brings its place along; else it is left alone.
    if (!$("#panel .output-section") && $("#panel .output-section", page)) selectors.push("#panel-slot");
    else selectors.push("#panel-state", "#panel-rest");
    for (const selector of selectors) {
      const old = $(selector);
      const fresh = $(selector, page);
      if (!old || !fresh || old.innerHTML === fresh.innerHTML) continue;
      const focused = old.contains(document.activeElement) ? key(document.activeElement) : null;
      const scrolls = $$(".graph-scroll, .matrix-scroll", old).map((one) => [one.scrollLeft, one.scrollTop]);
      for (const name of ["data-ended", "data-seq", "data-tab"]) {
        if (fresh.hasAttribute(name)) old.setAttribute(name, fresh.getAttribute(name));
      }
      old.replaceChildren(...document.adoptNode(fresh).childNodes);
      window.htmx?.process(old);
      if (selector === "#panel-slot") document.dispatchEvent(new Event("htmx:afterSettle"));
      $$(".graph-scroll, .matrix-scroll", old).forEach((one, place) => {
        if (scrolls[place]) [one.scrollLeft, one.scrollTop] = scrolls[place];
      });
      if (focused) $(focused, old)?.focus({ preventScroll: true });
    }
    budget();
  }
  const key = (element) => element.getAttribute("href") ? `a[href="${CSS.escape(element.getAttribute("href"))}"]` : null;

  // Somebody who reads events or has unfolded one is not disturbed.
  const quiet = () => $("#tab")?.dataset.tab === "events" && $("#tab details[open]");
  let behind = null;
  const refresh = throttled(() => {
    const selectors = ["#head"];
    if (!quiet()) selectors.push("#view .tabs", "#tab");
    return parts(selectors);
  }, 1000);
  function soon() {
    refresh();
    // The tables follow the topics within a second.
    clearTimeout(behind);
    behind = setTimeout(refresh, 1500);
  }

  function progress(snapshot) {
    const percent = $("[data-percent]", head);
    if (percent) percent.textContent = `${Math.floor(snapshot.percent)} %`;
    const eta = $("[data-eta]", head);
    if (eta) eta.textContent = snapshot.eta_seconds == null ? "" : `about ${duration(snapshot.eta_seconds)} left`;
  }

  if (head.dataset.ended === "yes") return;
  // After the end, until the tables have it too.
  function settle(times) {
    if (times > 0 && head.dataset.ended !== "yes") {
      refresh();
      setTimeout(() => settle(times - 1), 2000);
    }
  }
  const ENDS = new Set(["execution.completed", "execution.partial", "execution.failed",
    "execution.cancelled", "execution.timed_out", "execution.rejected"]);
  const close = connect(`/v1/executions/${id}/live?after=${head.dataset.seq}`, {
    progress: (snapshot) => { progress(snapshot); },
    message: (event) => {
      if (ENDS.has(event.type)) close();
      soon();
      if (ENDS.has(event.type)) settle(30);
    },
    end: () => { close(); settle(30); },
    problem: () => { close(); },
  });
})();
