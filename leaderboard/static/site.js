"use strict";
(() => {
  const make = (tag, properties = {}, ...children) => {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  };
  document.documentElement.classList.add("js");

  // What a reader chose stands in the address, so that it can be sent to somebody: #board.sort=mean&board.q=csmpt
  const state = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
  const keep = (name, value) => {
    if (value === "" || value === null) state.delete(name);
    else state.set(name, value);
    history.replaceState(null, "", "#" + state.toString());
  };

  const valueOf = (cell, kind) => {
    if (!cell) return null;
    if (kind) return cell.dataset.v === undefined ? null : Number(cell.dataset.v);
    return cell.textContent.trim().toLocaleLowerCase();
  };
  const compare = (a, b, down) => {
    if (a === null || b === null) return (a === null) - (b === null); // missing values last, in either direction
    const order = typeof a === "number" ? a - b : a.localeCompare(b);
    return down ? -order : order;
  };

  const live = (table) => {
    const controls = document.querySelector(`.controls[data-for="${table.id}"]`);
    const head = table.tHead.rows[0];
    const rows = () => [...table.querySelectorAll("tbody tr:not(.group)")];
    const say = (name) => `${table.id}.${name}`;

    const sort = (key, down) => {
      const at = [...head.cells].findIndex((cell) => cell.dataset.key === key);
      if (at < 0) return;
      for (const cell of head.cells) if (cell.hasAttribute("aria-sort")) cell.setAttribute("aria-sort", "none");
      head.cells[at].setAttribute("aria-sort", down ? "descending" : "ascending");
      const kind = head.cells[at].dataset.kind;
      for (const body of table.tBodies) {
        const own = [...body.rows].filter((row) => !row.classList.contains("group"));
        own.map((row) => [valueOf(row.cells[at], kind), row])
          .sort((a, b) => compare(a[0], b[0], down))
          .forEach(([, row]) => body.append(row));
      }
    };
    const button = (cell) => {
      cell.setAttribute("aria-sort", "none");
      const link = cell.querySelector("a");
      const press = make("button", { type: "button" });
      press.setAttribute("aria-label", `Sort by ${cell.textContent.trim()}`);
      if (link) cell.append(" ", press);
      else press.append(...cell.childNodes), press.removeAttribute("aria-label"), cell.append(press);
      press.addEventListener("click", () => {
        const before = cell.getAttribute("aria-sort");
        const down = before === "none" ? cell.dataset.kind === "n" : before === "ascending";
        sort(cell.dataset.key, down);
        keep(say("sort"), cell.dataset.key);
        keep(say("down"), down ? "1" : "0");
      });
    };
    for (const cell of head.cells) if (cell.dataset.key && cell.dataset.kind !== "none") button(cell);

    const count = make("span", { className: "quiet" });
    count.setAttribute("role", "status");
    const search = make("input", { type: "search", autocomplete: "off", spellcheck: false });
    const filter = () => {
      const words = search.value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows()) {
        const text = row.textContent.toLocaleLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += !row.hidden;
      }
      for (const body of table.tBodies) body.hidden = ![...body.rows].some((row) => !row.hidden && !row.classList.contains("group"));
      count.textContent = words.length ? `${shown} of ${rows().length} rows` : `${rows().length} ${rows().length === 1 ? "row" : "rows"}`;
      keep(say("q"), search.value);
    };
    search.addEventListener("input", filter);

    const show = (at, on) => {
      for (const row of table.rows) {
        if (row.classList.contains("group")) continue;
        if (row.cells[at]) row.cells[at].toggleAttribute("data-off", !on);
      }
    };
    const more = table.id === "board" && document.getElementById("more-columns");
    const extra = more ? JSON.parse(more.textContent) : {};
    const chosen = () => [...picker.querySelectorAll("input")].filter((box) => box.checked !== box.defaultChecked).map((box) => (box.checked ? "+" : "-") + box.value);
    const picker = make("fieldset", {}, make("legend", { className: "hide", textContent: "Columns" }));
    const option = (value, text, on, change) => {
      const box = make("input", { type: "checkbox", value, checked: on, defaultChecked: on });
      box.addEventListener("change", () => {
        change(box);
        keep(say("cols"), chosen().join("~"));
      });
      picker.append(make("label", {}, box, text));
      return box;
    };
    const columnOf = (key) => [...head.cells].findIndex((cell) => cell.dataset.key === key);
    for (const cell of [...head.cells]) {
      if (!cell.dataset.key || ["model", "task", "rank"].includes(cell.dataset.key)) continue;
      const optional = cell.hasAttribute("data-optional");
      option(cell.dataset.key, cell.textContent.replace("†", " †").trim(), !optional, (box) => show(columnOf(cell.dataset.key), box.checked));
      if (optional) show(columnOf(cell.dataset.key), false);
    }
    const most = 12;
    const add = (name, box) => {
      const now = head.querySelectorAll("[data-added]").length;
      if (box.checked && now >= most) {
        box.checked = false;
        count.textContent = `No more than ${most} tasks at a time: take one out first.`;
        return;
      }
      if (!box.checked) {
        const at = columnOf("task:" + name);
        if (at >= 0) for (const row of table.rows) if (!row.classList.contains("group") && row.cells[at]) row.deleteCell(at);
        return;
      }
      const cell = make("th", { scope: "col", className: "n", textContent: extra[name].label });
      Object.assign(cell.dataset, { key: "task:" + name, kind: "n", added: "" });
      head.append(cell);
      button(cell);
      for (const row of rows()) {
        const found = extra[name].values[Number(row.dataset.id)];
        const known = found !== null && found !== undefined;
        const value = make("td", { className: "n", textContent: known ? found.toFixed(2).replace("-", "\u2212") : "–" });
        if (known) value.dataset.v = String(found);
        row.append(value);
      }
    };
    if (Object.keys(extra).length) picker.append(make("p", { className: "quiet", textContent: `Tasks (up to ${most})` }));
    for (const name of Object.keys(extra)) option("task:" + name, extra[name].label, false, (box) => add(name, box));

    if (controls) {
      controls.hidden = false;
      const columns = make("details", {}, make("summary", { textContent: "Columns" }), picker);
      columns.addEventListener("keydown", (event) => {
        if (event.key === "Escape") { columns.open = false; columns.querySelector("summary").focus(); }
      });
      document.addEventListener("click", (event) => { if (!columns.contains(event.target)) columns.open = false; });
      controls.append(make("label", {}, "Filter ", search), columns);
      for (const kind of ["csv", "json"]) {
        const press = make("button", { type: "button", textContent: `Shown rows as ${kind.toUpperCase()}` });
        press.addEventListener("click", () => download(table, controls.dataset.name, kind));
        controls.append(press);
      }
      controls.append(count);
    }

    // A permalink is played back in the order in which a reader would have clicked it.
    const changes = (state.get(say("cols")) || "").split("~").filter(Boolean);
    for (const change of changes) {
      const box = [...picker.querySelectorAll("input")].find((one) => one.value === change.slice(1));
      if (box && box.checked !== (change[0] === "+")) { box.checked = !box.checked; box.dispatchEvent(new Event("change")); }
    }
    search.value = state.get(say("q")) || "";
    filter();
    if (state.get(say("sort"))) sort(state.get(say("sort")), state.get(say("down")) === "1");
  };

  const shownCells = (row) => [...row.cells].filter((cell) => !cell.hasAttribute("data-off") && !cell.hasAttribute("data-drawn"));
  const plain = (cell) => (cell.dataset.high ? `${cell.dataset.v}-${cell.dataset.high}` : cell.dataset.v !== undefined ? cell.dataset.v : cell.textContent.trim());
  const quoted = (text) => {
    // No formula for a spreadsheet: as store/spreadsheet.py says.
    const safe = /^[\s"'`\u00b4\u2018-\u201f]*[=+\-@\uff1d\uff0b\uff0d\uff20\t\r\n]/.test(text) && Number.isNaN(Number(text)) ? "'" + text : text;
    return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const download = (table, name, kind) => {
    const head = shownCells(table.tHead.rows[0]).map((cell) => cell.textContent.trim());
    const body = [...table.querySelectorAll("tbody:not([hidden]) tr:not(.group):not([hidden])")].map((row) => shownCells(row).map(plain));
    const text = kind === "csv"
      ? [head, ...body].map((row) => row.map(quoted).join(",")).join("\n") + "\n"
      : JSON.stringify(body.map((row) => Object.fromEntries(row.map((value, i) => [head[i], value]))), null, 1);
    const address = URL.createObjectURL(new Blob([text], { type: kind === "csv" ? "text/csv" : "application/json" }));
    const link = make("a", { href: address, download: `${name}.${kind}` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  };

  for (const table of document.querySelectorAll("table[data-live]")) live(table);
})();
