// Sorting and filtering (DataTables), the dialog with the runs behind a cell, and methods of a chart that can be hidden.
"use strict";

let details;
const tables = new Map();

/** An element with attributes and children; text is never read as HTML. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== ""));
  return element;
}

// Tables

function setUp(element) {
  const heads = [...element.querySelectorAll("th[data-filter]")];
  const table = new DataTable(element, {
    paging: false,
    order: [],
    autoWidth: false,
    layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null },
    columnDefs: [{ targets: "number", type: "num" }],
  });
  const name = element.id === "claims-table" ? "claims" : element.closest("section").querySelector("h4").textContent;
  const count = make("p", { class: "count", role: "status" });
  const search = make("input", { type: "search", "aria-label": `Search in ${name}`, placeholder: "Search" });
  search.addEventListener("input", () => table.search(search.value).draw());
  const filters = heads.map((head) => filter(table, head, name)).filter(Boolean);
  const bar = make("div", { class: "bar" }, search, ...filters, count);
  element.closest(".scroll").before(bar);
  const say = () => {
    const shown = table.rows({ search: "applied" }).count();
    count.textContent = `${shown} of ${table.rows().count()} rows`;
  };
  table.on("draw", say);
  say();
  tables.set(element.id, { table, bar });
}

/** A menu of the different values of a column; none where all rows have the same. */
function filter(table, head, name) {
  const column = table.column(head);
  const values = new Set();
  for (const cell of column.nodes().toArray()) {
    for (const value of (cell.dataset.search ?? cell.textContent).split("; ")) values.add(value.trim());
  }
  if (values.size < 2) return null;
  const label = head.dataset.filter;
  const menu = make("select", { "aria-label": `${label} in ${name}`, "data-menu": label }, make("option", { value: "" }, `${label}: all`));
  for (const value of [...values].sort()) menu.append(make("option", { value }, value || "none"));
  menu.addEventListener("change", () => {
    const wanted = menu.value;
    const all = menu.selectedIndex === 0;
    column.search(all ? "" : (text) => text.split("; ").some((part) => part.trim() === wanted)).draw();
  });
  return menu;
}

function clearFilters({ table, bar }) {
  bar.querySelector("input").value = "";
  table.search("");
  for (const menu of bar.querySelectorAll("select")) {
    menu.selectedIndex = 0;
    menu.dispatchEvent(new Event("change"));
  }
  table.draw();
}

// Dialog

const dialog = document.getElementById("details");

/** The runs behind all cells, unpacked when the first cell is opened. */
function allDetails() {
  details ??= unpack(document.getElementById("data").textContent).then((response) => response.json());
  return details;
}

async function open(number) {
  const data = await allDetails();
  const entry = data.entries[number];
  document.getElementById("details-title").textContent = entry.title;
  const body = dialog.querySelector(".body");
  body.replaceChildren(list([...entry.facts, ...data.origins[entry.origin]]));
  const count = entry.runs.length;
  const heading = count === 0 ? "No run record" : `${count} run${count === 1 ? "" : "s"}`;
  body.append(make("h3", {}, heading), ...entry.runs.map((key) => run(data.runs[key], data.settings, entry.metric, count === 1)));
  dialog.showModal();
  dialog.scrollTop = 0;
}

function list(facts) {
  return make("dl", {}, ...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

function code(text, label) {
  const block = make("div", { class: "code" }, make("pre", { tabindex: "0" }, text));
  if (!navigator.clipboard) return block;
  const button = make("button", { type: "button", "aria-label": `Copy: ${label}` }, "Copy");
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  });
  block.append(button);
  return block;
}

function run(facts, settings, metric, alone) {
  const value = facts.metrics[metric] ?? facts.absent[metric] ?? "";
  const part = make("details", { class: "run" }, make("summary", {}, facts.title, value && ": ", make("strong", {}, value)));
  part.open = alone;
  part.append(
    make("h4", {}, "Run it again"),
    code(facts.target, "with its data"),
    make("p", { class: "hint" }, "makes its data as well, and the runs it starts from (real data: add data_root=DIR). Where the data are there already:"),
    code(facts.command, "the run alone"),
    facts.differs && make("p", { class: "banner warn" }, facts.differs),
    list([
      ["From", facts.source],
      ["Commit", facts.commit],
      ...facts.data.map((set) => ["Data", `${set.name}, folder ${set.folder}, sha256 ${set.digest}`]),
      ["Device", facts.device],
      ["Packages", facts.packages],
      ["Started", `${facts.started}, took ${facts.duration}`],
      ["Record", facts.record],
    ]),
    fold("All metrics", list([...Object.entries(facts.metrics), ...Object.entries(facts.absent)])),
    fold("All settings", make("pre", { tabindex: "0" }, settings[facts.settings].join("\n"))),
    facts.log ? fold(`End of the log ${facts.log}`, make("pre", { tabindex: "0" }, facts.tail || "(empty)")) : make("p", { class: "hint" }, "No log was kept."),
  );
  return part;
}

function fold(title, content) {
  return make("details", {}, make("summary", {}, title), content);
}

dialog.querySelector(".close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());

// The runs and the downloads are packed in the page by gzip.

async function unpack(base64) {
  const packed = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip")));
}

async function unpacked(link) {
  const address = URL.createObjectURL(await (await unpack(link.href.split(",")[1])).blob());
  make("a", { href: address, download: link.download.replace(/\.gz$/, "") }).click();
  URL.revokeObjectURL(address);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest('a[download$=".gz"]');
  if (!link || !("DecompressionStream" in window)) return;
  event.preventDefault();
  unpacked(link);
});

// Everything that can be opened, charts, and links to claims

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-open]");
  if (opener) open(Number(opener.dataset.open));
});
document.addEventListener("keydown", (event) => {
  const point = event.target.closest?.("g[data-open]");
  if (point && (event.key === "Enter" || event.key === " ")) {
    event.preventDefault();
    open(Number(point.dataset.open));
  }
});
document.addEventListener("change", (event) => {
  const method = event.target.dataset.toggle;
  if (method === undefined) return;
  const chart = event.target.closest(".chart");
  for (const group of chart.querySelectorAll(`g[data-method="${method}"]`)) group.classList.toggle("hidden", !event.target.checked);
});
for (const card of document.querySelectorAll("[data-verdict]")) {
  card.addEventListener("click", () => {
    const claims = tables.get("claims-table");
    clearFilters(claims);
    const menu = claims.bar.querySelector('[data-menu="Verdict"]');
    if (!menu) return;
    menu.value = card.dataset.verdict;
    menu.dispatchEvent(new Event("change"));
  });
}
// A claim that a filter hides is shown again before a link goes to it.
document.addEventListener("click", (event) => {
  if (event.target.closest('a[href^="#claim-"]')) clearFilters(tables.get("claims-table"));
});

// A table is set up when it is about to be seen: all at once would delay the page.
const near = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting || tables.has(target.id)) continue;
      near.unobserve(target);
      setUp(target);
    }
  },
  { rootMargin: "600px" },
);
for (const element of document.querySelectorAll("table.data")) {
  if (element.id === "claims-table") setUp(element);
  else near.observe(element);
}
if (location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
