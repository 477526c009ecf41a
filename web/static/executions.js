/* The live list: rows change where they stand; new ones come in only while nothing would move under
   the pointer or the reader's eyes, else a button says how many there are. */
"use strict";
(() => {
  const { $, $$, connect, throttled } = window.runstream;
  const table = () => $("table.executions");
  const rowOf = (id) => $(`tr[data-execution="${CSS.escape(id)}"]`);
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
    if (!list) return true;
    return scrollY < 80 && !list.matches(":hover") && !list.contains(document.activeElement);
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
    if (!list) { if (!$(".removable")) location.reload(); return; }
    if (!("live" in list.dataset)) return;
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
  const AFTER = {
    "execution.approval_requested": "pending_approval", "execution.approved": "approved",
    "execution.queued": "queued", "execution.started": "running", "execution.paused": "paused",
    "execution.needs_attention": "needs_attention", "execution.completed": "completed",
    "execution.partial": "partial", "execution.failed": "failed",
    "execution.cancelled": "cancelled", "execution.timed_out": "timeout",
    "execution.rejected": "rejected",
  };
  function showStatus(row, status) {
    const template = $(`template[data-status="${CSS.escape(status)}"]`);
    if (!template || row.dataset.status === status) return;
    $("[data-cell=status]", row)?.replaceChildren(template.content.firstElementChild.cloneNode(true));
    row.dataset.status = status;
  }

  function happened(event) {
    const row = rowOf(event.execution_id);
    if (row) {
      if (AFTER[event.type]) showStatus(row, AFTER[event.type]);
      changed.add(event.execution_id);
      refresh();
      // The tables follow the topics within a second.
      setTimeout(() => { changed.add(event.execution_id); refresh(); }, 1500);
      return;
    }
    if (event.type !== "execution.accepted" && event.type !== "execution.rejected") return;
    if (table() && !("live" in table().dataset)) return;
    fresh.add(event.execution_id);
    // Once it stands in the tables.
    setTimeout(settle, 1000);
  }

  const types = ["execution.*", "step.started", "step.succeeded", "step.failed", "step.timed_out"];
  connect(`/v1/live?${new URLSearchParams(types.map((type) => ["type", type]))}`, {
    message: happened,
    reset: () => location.reload(),
  });
})();
