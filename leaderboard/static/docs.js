"use strict";
(() => {
  const make = (tag, properties = {}, ...children) => {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  };
  const facts = JSON.parse(document.getElementById("viewer-facts").textContent);
  const chunks = [...document.querySelectorAll("script.chunk")];
  const open = new Map();
  const page = 20;

  // Chunks are gzip in base64: small on disk, unpacked when a doc of theirs is shown.
  const unpack = async (at) => {
    if (!open.has(at)) {
      const bytes = Uint8Array.from(atob(chunks[at].textContent), (letter) => letter.charCodeAt(0));
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
      open.set(at, JSON.parse(await new Response(stream).text()));
      if (open.size > 8) open.delete(open.keys().next().value);
    }
    return open.get(at);
  };
  const doc = async (at) => (await unpack(Math.floor(at / facts.size)))[at % facts.size];

  const state = new URLSearchParams(location.hash.slice(1));
  const keep = () => {
    const shown = { only: only.value, model: which.value, page: String(first / page + 1) };
    if (find.value) shown.find = find.value;
    if (!against.hidden) shown.other = other.value;
    const chosen = single === null ? shown : { doc: single };
    history.replaceState(null, "", "#" + new URLSearchParams(chosen).toString());
  };
  let wanted = [];
  let first = 0;
  let single = null; // the one doc that an address names
  let search = 0;
  const place = (id) => (facts.ids ? facts.ids.indexOf(Number(id)) : Number(id));
  const words = (item) => [item.question, ...item.targets, ...item.answers.map((answer) => answer.text)].join("\n").toLowerCase();

  const outcome = (model, at) => facts.marks[model][at];
  const fits = (at) => {
    const letters = facts.models.map((_, model) => outcome(model, at));
    if (only.value === "all") return true;
    if (only.value === "differ") return new Set(letters).size > 1;
    if (only.value === "hard") return !letters.includes("r");
    if (only.value === "gain") return letters[Number(which.value)] === "r" && letters[Number(other.value)] !== "r";
    if (only.value === "loss") return letters[Number(which.value)] !== "r" && letters[Number(other.value)] === "r";
    return outcome(Number(which.value), at) === only.value;
  };
  const draw = (item) => {
    const link = make("a", { href: `#doc=${item.id}`, textContent: `Doc ${item.id}` });
    const article = make("article", { className: "doc", id: `doc-${item.id}` }, make("h2", {}, link));
    if (item.question) article.append(make("p", { className: "question" }, make("bdi", { textContent: item.question })));
    if (item.targets.length) {
      const list = make("ol", { className: "choices", start: 0 });
      item.targets.forEach((text, i) => {
        const entry = make("li", {}, make("bdi", { textContent: text }));
        if (item.gold.includes(i)) { entry.className = "gold"; entry.append(" ", make("span", { className: "badge", textContent: "right" })); }
        list.append(entry);
      });
      article.append(list);
    }
    const answers = make("dl", { className: "answers" });
    item.answers.forEach((answer, i) => {
      answers.append(make("dt", {}, make("bdi", { textContent: facts.models[i] })));
      const entry = make("dd", {}, answer.mark + " ", make("bdi", { textContent: answer.text }));
      if (answer.note) entry.append(" ", make("span", { className: "note", textContent: answer.note }));
      answers.append(entry);
    });
    article.append(answers);
    return article;
  };
  const render = async () => {
    const drawn = [];
    for (const at of wanted.slice(first, first + page)) drawn.push(draw(await doc(at)));
    document.getElementById("viewer").replaceChildren(...drawn);
    const last = Math.min(first + page, wanted.length);
    document.getElementById("viewer-status").textContent = wanted.length
      ? single !== null ? `Doc ${single}; there are ${facts.count}` : `Docs ${first + 1} to ${last} of ${wanted.length}${wanted.length === facts.count ? "" : ` (of ${facts.count} in all)`}`
      : "No doc fits.";
    back.disabled = first === 0;
    next.disabled = last >= wanted.length;
    keep();
  };
  const choose = async () => {
    const mine = ++search;
    const sought = find.value.trim().toLowerCase();
    let found = Array.from({ length: facts.count }, (_, at) => at).filter(single === null ? fits : (at) => at === place(single));
    which.disabled = ["all", "differ", "hard"].includes(only.value);
    against.hidden = only.value !== "gain" && only.value !== "loss";
    if (sought && single === null) {
      document.getElementById("viewer-status").textContent = "Searching …";
      const kept = [];
      for (const at of found) if (words(await doc(at)).includes(sought)) kept.push(at);
      if (mine !== search) return; // something else was chosen meanwhile
      found = kept;
    }
    wanted = found;
    first = 0;
    await render();
  };
  const chosen = () => { single = null; return choose(); };

  const select = (options) => make("select", {}, ...options.map(([value, text]) => make("option", { value, textContent: text })));
  const only = select([["all", "all docs"], ["differ", "docs on which models differ"], ["hard", "docs that no model got right"], ["gain", "docs that this model got right, another not"], ["loss", "docs that another got right, this model not"], ["w", "docs that this model got wrong"], ["r", "docs that this model got right"], ["u", "docs without an answer of this model"], ["f", "docs that failed for this model"]]);
  const which = select(facts.models.map((name, i) => [String(i), name]));
  const other = select(facts.models.map((name, i) => [String(i), name]));
  const against = make("label", { hidden: true }, "Another ", other);
  other.value = String(facts.models.length - 1);
  const back = make("button", { type: "button", textContent: "Previous" });
  const next = make("button", { type: "button", textContent: "Next" });
  const find = make("input", { type: "search" });
  only.addEventListener("change", chosen);
  which.addEventListener("change", chosen);
  other.addEventListener("change", chosen);
  find.addEventListener("change", chosen);
  const all = make("button", { type: "button", textContent: "All docs" });
  all.addEventListener("click", () => { only.value = "all"; find.value = ""; return chosen(); });
  back.addEventListener("click", () => { first -= page; return render(); });
  next.addEventListener("click", () => { first += page; return render(); });
  const controls = document.getElementById("viewer-controls");
  controls.append(make("label", {}, "Show ", only), make("label", {}, "Model ", which), against, make("label", {}, "Text ", find), back, next, all);
  controls.hidden = false;
  if (state.get("only")) only.value = state.get("only");
  if (state.get("model") && facts.models[Number(state.get("model"))] !== undefined) which.value = state.get("model");
  if (state.get("other") && facts.models[Number(state.get("other"))] !== undefined) other.value = state.get("other");
  if (state.get("find")) find.value = state.get("find");
  if (state.get("doc") !== null && facts.marks[0][place(state.get("doc"))] !== undefined) single = state.get("doc");
  window.addEventListener("hashchange", () => {
    const named = new URLSearchParams(location.hash.slice(1)).get("doc");
    if (named !== null && facts.marks[0][place(named)] !== undefined) { single = named; choose(); }
  });
  const at = Math.max(1, Number(state.get("page")) || 1);
  choose().then(() => {
    if (at > 1 && (at - 1) * page < wanted.length) { first = (at - 1) * page; return render(); }
  });
})();
