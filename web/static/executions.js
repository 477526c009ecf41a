/* The live list: rows change where they stand; new ones come in only while nothing would move under
   the pointer or the reader's eyes, else a button says how many there are. */
"use strict";
(() => {
  const { $, $$, connect, throttled, duration } = window.runstream;
  const table = () => $("table.executions");
  const rowOf = (id) => $(`tr[data-execution="${CSS.escape(id)}"]`);
  const ENDED = new Set(["completed", "failed", "partial", "cancelled", "timeout", "rejected"]);
  const MOST = 50;

  const fresh = new Set();
  const changed = new Set();

  async function fetchRows(ids) {
    const query = new URLSearchParams();
    for (const id of ids) query.append("id", id);
    const answer = await fetch(`/executions/rows?${query}`, { headers: { "HX-Request": "true" } });
    if (!answer.ok) return [];
    const body = new DOMParser().parseFromString(await answer.text(), "text/html");
    return $$("tr[data-execution]", body).map((row) => document.adoptNode(row));
  }

  const refresh = throttled(async () => {
    const ids = [...changed].filter(rowOf).slice(0, MOST);
    changed.clear();
    if (!ids.length) return;
    for (const row of await fetchRows(ids)) {
      const old = rowOf(row.dataset.execution);
      if (!old) continue;
      const focused = old.contains(document.activeElement);
      old.replaceWith(row);
      if (focused) $("a.row-link", row)?.focus();
    }
  }, 1000);

  function still() {
    const list = table();
    return scrollY < 80 && list && !list.matches(":hover") && !list.contains(document.activeElement);
  }

  function announce() {
    const line = $("#new-rows");
    if (!line) return;
    const text = fresh.size > MOST ? `more than ${MOST} new` : `${fresh.size} new`;
    $("button span", line).textContent = text;
    line.hidden = fresh.size === 0;
  }

  async function arrive() {
    const list = table();
    if (!list || !("live" in list.dataset)) return;
    const ids = [...fresh].slice(-MOST);
    fresh.clear();
    announce();
    const rows = (await fetchRows(ids)).filter((row) => !rowOf(row.dataset.execution));
    const body = $("tbody", list);
    for (const row of rows.reverse()) {
      row.classList.add("arrived");
      body.prepend(row);
    }
    $$("tr", body).slice(100).forEach((row) => row.remove());
  }
  const settle = throttled(() => {
    if (!fresh.size) return;
    if (still()) arrive();
    else announce();
  }, 1000);

  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("#new-rows button")) return;
    scrollTo({ top: 0 });
    if (table()) arrive();
    else location.reload();
  });

  /* A status as the server would show it, from the page's templates. */
  function statusOf(name) {
    const template = $(`template[data-status="${CSS.escape(name)}"]`);
    return template && template.content.firstElementChild.cloneNode(true);
  }

  function progress(snapshot) {
    const row = rowOf(snapshot.execution_id);
    if (!row) {
      const list = table();
      if (!list) { if (!$(".filters").matches("[data-filtered]")) location.reload(); return; }
      if (!("live" in list.dataset) || ENDED.has(snapshot.status)) return;
      fresh.add(snapshot.execution_id);
      settle();
      return;
    }
    if (row.dataset.status !== snapshot.status) {
      const shown = statusOf(snapshot.status);
      const cell = $("[data-cell=status]", row);
      if (shown && cell) cell.replaceChildren(shown);
      row.dataset.status = snapshot.status;
      // The tables follow the topics within a second.
      changed.add(snapshot.execution_id);
      setTimeout(() => { changed.add(snapshot.execution_id); refresh(); }, 1200);
    }
    const bar = $("progress", row);
    if (bar && !ENDED.has(snapshot.status)) {
      bar.value = snapshot.percent;
      const value = $(".value", row);
      const eta = snapshot.eta_seconds == null ? "" : ` · ${duration(snapshot.eta_seconds)} left`;
      value.textContent = `${Math.floor(snapshot.percent)} %${eta}`;
    }
  }

  connect("/v1/live", ["progress", "execution"], (name, data) => {
    if (data && data.execution_id) progress(data);
  });
})();
