"use strict";
// Draws the page from the JSON inside it. Everything is text nodes: no content is ever read as markup.
const content = JSON.parse(document.getElementById("content").textContent);
const figures = JSON.parse(document.getElementById("figures").textContent);
const { steps, measurements, claims, environments, sources, files } = content;
const frame = document.getElementById("frame"), main = document.getElementById("main"), panel = document.getElementById("panel");
const opened = { button: null };
const KINDS = { attack: "Ledger of single images", train: "Checkpoint", weights: "Published weights", data: "Decoded data", download: "Downloaded file", numbers: "Numbers" };
const NARROW = matchMedia("(max-width: 1180px)");
const TONES = ["bad", "good", "plain", "open"];

function el(tag, attributes, ...children) {
  const svg = ["svg", "line", "circle", "text", "path", "rect"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}
const percent = (share) => (100 * share).toFixed(1);
const short = (hash) => hash.slice(0, 12);
const hash = (text) => el("span", { class: "hash" }, text);
const anchor = (id) => id.replace(/[^a-z0-9_]+/gi, "-");
// A hash in a text is set in its own style, and may be broken anywhere.
const marked = (text) => text.split(/\b([0-9a-f]{64}|[0-9a-f]{40})\b/).map((part, place) => (place % 2 ? hash(part) : part));
const factList = (facts) => facts.flatMap(([label, text, origin]) => [el("dt", {}, label), el("dd", {}, marked(String(text ?? "–")), origin ? el("span", { class: "origin" }, origin) : null)]);

// -- the page ---------------------------------------------------------------------------------------------------------

function drawTop() {
  const { audit } = content;
  const checked = Object.entries(audit.checked).map(([what, count]) => `${count} ${what}`).join(", ");
  document.getElementById("top").append(
    el("h1", {}, "Where every number comes from"),
    el("p", { class: "lead" }, `${content.meaning} ${content.about} Choose any cell of a table to see what it was counted from.`),
    el("div", { class: "standing" },
      el("span", { class: `stamp ${audit.ok ? "pass" : "fail"}`, id: "verdict" }, audit.ok ? "✓ Audit passed" : "✗ Audit failed"),
      el("span", { class: "badge" }, `scale ${content.scale}${content.reproduces ? "" : ": stand-ins, no reproduction"}`),
      audit.root ? el("span", { class: "root" }, "root", el("code", { class: "hash", id: "root" }, audit.root),
        el("button", { class: "quiet", type: "button", onclick: (event) => copy(audit.root, event.target) }, "copy")) : el("span", { class: "root" }, "no root: the results are not complete")),
    el("dl", { class: "beside" }, factList(audit.beside)),
    el("details", { class: "checked", open: !audit.ok }, el("summary", {}, `Checked: ${checked}.`),
      el("ul", {}, [...audit.findings.map((text) => `broken: ${text}`), ...audit.notes].map((text) => el("li", {}, text)))));
}

function copy(text, button) {
  const done = () => { button.textContent = "copied"; setTimeout(() => { button.textContent = "copy"; }, 1500); };
  const select = () => { const range = document.createRange(); range.selectNodeContents(document.getElementById("root")); getSelection().removeAllRanges(); getSelection().addRange(range); };
  if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, select); else select();
}

function drawNav() {
  const search = el("input", { type: "search", id: "search", placeholder: "method, attack, data …", "aria-label": "Filter rows of tables and figures", oninput: filter });
  const failed = el("input", { type: "checkbox", id: "failed-checks", onchange: filter });
  const theme = el("button", { type: "button", class: "quiet", onclick: flipTheme }, "light / dark");
  document.getElementById("nav").append(
    el("div", { class: "tools", role: "search" }, search, el("label", {}, failed, "only failed checks (†)"),
      el("div", { class: "found", id: "found", "aria-live": "polite" }), theme),
    el("details", { id: "list", open: !NARROW.matches }, el("summary", {}, "Papers and tables"),
      el("ul", {}, content.papers.map((paper) => el("li", {}, el("a", { href: `#${anchor(paper.id)}` }, paper.id),
        el("ul", {}, paper.tables.map((table) => el("li", {}, el("a", { href: `#${anchor(table.id)}` }, table.title)))))))));
}

function flipTheme() {
  const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = (root.dataset.theme || (dark ? "dark" : "light")) === "dark" ? "light" : "dark";
}

function drawPaper(paper) {
  const counts = new Map();
  for (const place of paper.claims) counts.set(claims[place].verdict, { tone: claims[place].tone, count: (counts.get(claims[place].verdict)?.count || 0) + 1 });
  const cite = [paper.authors?.join(", "), paper.venue, paper.arxiv && `arXiv:${paper.arxiv}`].filter(Boolean).join(" · ");
  return el("section", { class: "paper", id: anchor(paper.id), "aria-labelledby": `${anchor(paper.id)}-title` },
    el("h2", { id: `${anchor(paper.id)}-title` }, paper.title), el("p", { class: "cite" }, cite),
    el("ul", { class: "chips", "aria-label": "Verdicts on its claims" }, [...counts].map(([verdict, { tone, count }]) => el("li", { class: `chip ${tone}` }, `${count} ${verdict}`))),
    paper.figures.length ? el("div", { class: "figures" }, paper.figures.map(drawFigure)) : null,
    paper.tables.map((table) => drawTable(paper, table)), drawClaims(paper),
    el("details", { class: "more" }, el("summary", {}, `${paper.deviations.length} choices of ours where the paper could not be followed or read`),
      el("dl", {}, paper.deviations.flatMap((one) => [el("dt", {}, one.key), el("dd", {}, one.text)]))));
}

function drawFigure(figure) {
  const [, title, rest] = figure.caption.match(/^\*\*(.*?)\*\*\s*([^]*)$/) || [null, figure.id, figure.caption];
  return el("figure", {}, el("img", { src: figures[figure.id], alt: title, loading: "lazy" }), el("figcaption", {}, el("strong", {}, title), " ", rest));
}

function drawTable(paper, table) {
  const first = table.header.length - table.columns.length;
  const head = el("tr", {}, table.header.map((text, place) => el("th", { scope: "col", class: place < first ? "left" : null },
    el("button", { type: "button", class: "sort", title: `Sort by ${text}`, onclick: (event) => sort(event.currentTarget) }, text))));
  const rows = table.rows.map((row) => el("tr", {}, row.heads.map((text, place) => el(place === first - 1 ? "th" : "td", { scope: place === first - 1 ? "row" : null, class: "left" }, text)),
    row.cells.map((cell, place) => el("td", {}, drawCell(table, row, cell, place)))));
  return el("article", { id: anchor(table.id) },
    el("button", { type: "button", class: "quiet csv", "aria-label": `Download ${table.title} as CSV`, onclick: () => download(table) }, "CSV"),
    el("h3", { id: `${anchor(table.id)}-title` }, table.title),
    el("div", { class: "scroll" }, el("table", { class: "grid", "aria-labelledby": `${anchor(table.id)}-title`, onkeydown: walk }, el("thead", {}, head), el("tbody", {}, rows))),
    el("ul", { class: "notes" }, table.notes.map((note) => el("li", {}, note))));
}

function drawCell(table, row, cell, place) {
  if (!cell.parts.length) return el("span", { class: "blank" }, cell.text);
  const name = `${table.id}:${row.name}/${table.columns[place]}`, header = table.header[table.header.length - table.columns.length + place];
  const tones = new Set(cell.parts.flatMap((part) => part.claims.map((one) => claims[one].tone)));
  const tone = TONES.find((one) => tones.has(one));
  return el("button", { type: "button", class: "cell", id: `cell-${anchor(name)}`, "data-cell": name, "aria-haspopup": "dialog", "aria-expanded": "false", "aria-controls": "panel",
    "aria-label": `${row.heads.join(", ")}, ${header}: ${cell.text}`, tabindex: "-1", onclick: (event) => open(event.currentTarget, { table, row, cell, header, name }) },
    number(cell.text), tone ? el("span", { class: `dot ${tone}`, "aria-hidden": "true" }) : null);
}

// The first press sorts downwards, the second upwards, the third puts the table's own order back.
function sort(button) {
  const header = button.closest("th"), body = button.closest("table").tBodies[0], column = header.cellIndex;
  const next = { descending: "ascending", ascending: null }[header.getAttribute("aria-sort")], way = next === undefined ? "descending" : next;
  for (const other of header.parentNode.cells) other.removeAttribute("aria-sort");
  const rows = [...body.rows];
  rows.forEach((row, place) => { row.dataset.place ??= place; });
  const read = (row) => { const text = row.cells[column].textContent.trim(), value = parseFloat(text.replaceAll(",", "").replace("−", "-")); return Number.isNaN(value) ? text : value; };
  const lower = (a, b) => (typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? 1 : -1);
  rows.sort((a, b) => (way ? (way === "ascending" ? 1 : -1) * lower(read(a), read(b)) : 0) || a.dataset.place - b.dataset.place);
  if (way) header.setAttribute("aria-sort", way);
  body.append(...rows);
}

function download(table) {
  const field = (text) => (/^[=+@\t\r]|^-(?![\d.])/.test(text) ? `'${text}` : text).replaceAll('"', '""');
  const lines = [table.header, ...table.rows.map((row) => [...row.heads, ...row.cells.map((cell) => cell.text)])];
  const blob = new Blob([lines.map((line) => line.map((text) => `"${field(String(text ?? ""))}"`).join(",") + "\r\n").join("")], { type: "text/csv" });
  const link = el("a", { href: URL.createObjectURL(blob), download: `${table.id.replace(/[^a-z0-9_]+/gi, "_")}.csv` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function number(text) {
  const dagger = text.includes("†"), [mean, sd] = text.replace("†", "").trim().split(" ± ");
  return [mean, sd ? el("span", { class: "sd" }, ` ± ${sd}`) : null, dagger ? el("span", { class: "dagger", title: "a sanity check failed" }, " †") : null];
}

function drawClaims(paper) {
  if (!paper.claims.length) return null;
  const all = paper.claims.map((place) => claims[place]), axis = axisOf(all);
  const heads = ["Claim", "Verdict", "Published", "Difference, 95 % interval", axis ? drawAxis(axis) : "", "Read from"];
  return el("article", {}, el("h3", {}, "The paper's claims"), el("div", { class: "scroll" }, el("table", { class: "grid claims" },
    el("thead", {}, el("tr", {}, heads.map((text, place) => el("th", { scope: "col", class: [2, 3].includes(place) ? null : "left" }, text)))),
    el("tbody", {}, all.map((claim) => el("tr", {}, el("td", { class: "left" }, claim.statement),
      el("td", { class: "left" }, el("span", { class: `chip ${claim.tone}` }, claim.verdict)), el("td", {}, claim.published ?? "–"),
      el("td", {}, claim.interval ? `${claim.interval}${claim.unit ? "" : " points"}` : "–"),
      el("td", { class: "left" }, axis && !claim.unit && claim.estimate != null ? plot(claim, axis) : null),
      el("td", { class: "left source" }, fact(claim, "Source"), ` (${fact(claim, "Confidence")})`)))))));
}

// One axis in points for all claims of a paper, so that their intervals can be compared; null if none has a difference.
function axisOf(all) {
  const values = all.filter((claim) => !claim.unit && claim.estimate != null).flatMap((claim) => [claim.estimate, claim.low, claim.high]).filter((value) => value != null);
  if (!values.length) return null;
  const reach = Math.max(...values.map((value) => Math.abs(100 * value)), 1);
  return { reach, step: [1, 2, 5, 10, 20, 50, 100].find((step) => reach / step < 3) || 100, x: (value) => 110 + (100 * value) / reach };
}

function drawAxis({ reach, step, x }) {
  const ticks = [];
  for (let tick = -step * Math.floor(reach / step); tick <= reach; tick += step) ticks.push(tick);
  return el("svg", { class: "ci", width: 220, height: 14, role: "img", "aria-label": "Difference in points" },
    ticks.map((tick) => el("text", { x: x(tick), y: 11, "text-anchor": "middle" }, tick > 0 ? `+${tick}` : String(tick).replace("-", "−"))));
}

const fact = (one, label) => one.facts.find(([name]) => name === label)?.[1] ?? "–";

function plot(claim, axis) {
  const { reach, x } = axis || axisOf([claim]), [low, mid, high] = [claim.low, claim.estimate, claim.high].map((value) => (value == null ? null : 100 * value));
  return el("svg", { class: `ci ${claim.tone}`, width: 220, height: 16, "aria-hidden": "true" },
    el("line", { class: "zero", x1: x(0), x2: x(0), y1: 0, y2: 16 }), low == null ? null : el("line", { x1: x(Math.max(low, -reach)), x2: x(Math.min(high, reach)), y1: 8, y2: 8, "stroke-width": 1.5 }),
    el("circle", { cx: x(mid), cy: 8, r: 3, fill: "currentColor" }));
}

// -- the panel ----------------------------------------------------------------------------------------------------------

function open(button, { table, row, cell, header, name }) {
  opened.button?.setAttribute("aria-expanded", "false");
  opened.button = button;
  button.setAttribute("aria-expanded", "true");
  panel.hidden = false;
  frame.classList.add("open");
  panel.replaceChildren(...[el("button", { type: "button", class: "quiet close", "aria-label": "Close", onclick: close }, "✕"),
    el("p", { class: "kicker" }, table.title), el("h2", { id: "panel-title", tabindex: "-1" }, `${row.heads.join(" · ")} · ${header}`),
    el("p", { class: "value", id: "panel-value" }, number(cell.text)), cell.parts.map((part) => drawPart(part, cell.parts.length > 1)),
    el("p", { class: "basis" }, "The same in words: ", el("code", {}, `robustft explain ${name} --scale ${content.scale}`))].flat());
  panel.scrollTop = 0;
  history.replaceState(null, "", `#cell=${name}`);
  document.getElementById("panel-title").focus({ preventScroll: true });
}

function close() {
  panel.hidden = true;
  frame.classList.remove("open");
  opened.button?.setAttribute("aria-expanded", "false");
  opened.button?.focus();
  history.replaceState(null, "", location.pathname + location.search);
}

function drawPart(part, several) {
  const share = part.unit === "share", seeds = `seed${part.seeds.length > 1 ? "s" : ""} ${part.seeds.join(", ")}`;
  const told = share ? `Share of ${part.images} ${part.split} images of ${part.dataset} that stay correct, in percent; evaluation ${part.evaluation}; ${seeds}` : `${part.unit} on ${part.dataset}; ${seeds}`;
  const measured = (part.measurements || []).map((place) => measurements[place]);
  return el("div", {}, several ? el("h4", {}, `${part.dataset}: ${percent(part.mean)}`) : null,
    el("p", { class: "basis" }, `${told}${part.seeds.length > 1 ? " (mean ± sample standard deviation)." : "."}`),
    measured.length ? [strip(measured, part.mean), seedTable(measured), measured.flatMap((one) => one.failed_checks.map((check) => failedCheck(one, check)))] : null,
    el("h3", {}, "Published, and the verdict"), part.claims.length ? part.claims.map((place) => drawClaim(claims[place])) : el("p", { class: "basis" }, "No claim of the paper is about this cell."),
    el("h3", {}, "Where it comes from"), measured.length ? [el("dl", {}, factList([measured[0].attack])), measured.map((one, place) => drawSeed(one, place === 0 && !several))]
      : (part.trainings || []).map((one) => el("div", {}, el("h4", {}, `Seed ${one.seed}: ${one.value}`), one.models.map((step) => drawStep(step)))));
}

function strip(measured, mean) {
  const x = (share) => 8 + 384 * share, height = 14 * measured.length + 22;
  const rows = measured.flatMap((one, row) => [el("line", { x1: x(one.interval[0]), x2: x(one.interval[1]), y1: 8 + 14 * row, y2: 8 + 14 * row, "stroke-width": 1.5, opacity: 0.55 }), el("circle", { cx: x(one.accuracy), cy: 8 + 14 * row, r: 3.5, fill: "currentColor" })]);
  const ticks = [0, 25, 50, 75, 100].flatMap((tick) => [el("line", { class: "zero", x1: x(tick / 100), x2: x(tick / 100), y1: 0, y2: height - 16 }), el("text", { x: x(tick / 100), y: height - 3, "text-anchor": tick === 100 ? "end" : "middle" }, String(tick))]);
  return el("svg", { class: "ci plain", viewBox: `0 0 400 ${height}`, width: "100%", role: "img", "aria-label": "Accuracy of each seed with the 95 % interval of the images drawn, and their mean" },
    ticks, el("line", { x1: x(mean), x2: x(mean), y1: 0, y2: height - 16, "stroke-dasharray": "3 3" }), rows);
}

function seedTable(measured) {
  return el("table", { class: "seeds" }, el("thead", {}, el("tr", {}, ["Seed", ...measured[0].facts.map(([label]) => label)].map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, measured.map((one) => el("tr", {}, [String(one.seed), ...one.facts.map(([, text]) => text)].map((text, place) => el("td", { class: place === one.facts.length && one.failed_checks.length ? "bad" : null }, text))))));
}

const failedCheck = (one, [name, text]) => el("p", { class: "warn" }, el("strong", {}, `† Seed ${one.seed}: ${name}`), ` is ${text}`);

function drawClaim(claim) {
  return el("div", { class: "claim" }, el("p", {}, el("span", { class: `chip ${claim.tone}` }, claim.verdict), " ", claim.statement),
    claim.low == null || claim.unit ? null : el("p", {}, plot(claim)), el("dl", {}, factList(claim.facts)));
}

function drawSeed(one, first) {
  const path = [], seen = new Set();
  for (let place = one.ledgers[0]; place !== undefined && !seen.has(place);) {
    seen.add(place);
    path.push(place);
    const { inputs } = steps[place];
    place = inputs.checkpoint ?? inputs.checkpoint1 ?? inputs.initial ?? inputs.data ?? inputs.file;
  }
  return el("div", {}, el("h4", {}, `Seed ${one.seed}: ${fact(one, "Correct")} stay correct`),
    one.derived ? el("p", { class: "basis" }, `Its model is made by ${one.derived} from the checkpoints below.`) : null,
    el("ul", { class: "path" }, path.map((place) => el("li", {}, steps[place].kind === "attack" ? "ledger " : `${steps[place].kind} `, hash(short(steps[place].files[0][2]))))), one.ledgers.map((place) => drawStep(place, first)));
}

function drawStep(place, unfolded) {
  const step = steps[place], broken = step.files.filter((file) => !file[3]);
  const node = el("details", { class: "node", "data-step": `${step.kind}:${step.id}` }, el("summary", {}, el("span", { class: "kind" }, KINDS[step.kind] || step.kind),
    el("span", { class: "short" }, hash(short(step.files[0][2]))), broken.length ? el("span", { class: "broken" }, "✗ changed") : el("span", { class: "ok", title: "hashed again when this page was made" }, "✓")));
  const fill = () => { if (node.open && node.children.length === 1) node.append(details(step)); };
  node.addEventListener("toggle", fill);
  if (unfolded) { node.open = true; fill(); }
  return node;
}

function details(step) {
  const environment = environments[step.environment], source = sources[step.source];
  const sums = [...step.files.map(([path, bytes, sha, verified]) => [`${path}, ${bytes.toLocaleString("en")} bytes${verified ? "" : ", NOT WHAT THE RECORD SAYS"}`, sha]), [step.record[0], step.record[1]], ["specification", step.spec]];
  const listOf = (entries) => el("ul", { class: "sums" }, entries.map(([name, sha]) => el("li", {}, name, hash(sha))));
  return el("div", { class: "inside" }, el("p", { class: "id" }, `${step.kind}:${step.id}`), step.curve ? drawCurve(step.curve) : null, el("dl", {}, factList([...step.facts, ...environment.facts])),
    el("details", {}, el("summary", {}, "SHA-256 of files, record and specification"), listOf(sums)),
    el("details", {}, el("summary", {}, `${source.files.length} source files, together ${short(source.sha256)}`), listOf(source.files.map((file) => files[file]))),
    el("details", {}, el("summary", {}, "Packages"), el("dl", {}, factList(Object.entries(environment.packages)))),
    Object.entries(step.inputs).map(([role, place]) => [el("p", { class: "id" }, `read as ${role}`), drawStep(place)]));
}

function drawCurve({ epochs, lines }) {
  const last = Math.max(...epochs, 1), x = (epoch) => 26 + (366 * epoch) / last, y = (share) => 112 - 100 * share;
  const ticks = [0, 50, 100].flatMap((tick) => [el("line", { class: "zero", x1: 26, x2: 392, y1: y(tick / 100), y2: y(tick / 100) }), el("text", { x: 22, y: y(tick / 100) + 3, "text-anchor": "end" }, String(tick))]);
  const drawn = Object.entries(lines).map(([name, values]) => {
    const points = epochs.map((epoch, place) => [epoch, values[place]]).filter(([, value]) => value != null);
    return el("path", { class: `curve ${name.startsWith("robust") ? "robust" : "clean"} ${name.split(" ")[1]}`, fill: "none", d: points.map(([epoch, value], place) => `${place ? "L" : "M"}${x(epoch).toFixed(1)} ${y(value).toFixed(1)}`).join("") });
  });
  return el("figure", { class: "curves" }, el("svg", { class: "ci", viewBox: "0 0 400 132", width: "100%", role: "img", "aria-label": "Accuracy at each epoch of training" }, ticks, drawn,
    el("text", { x: 26, y: 128 }, "epoch 1"), el("text", { x: 392, y: 128, "text-anchor": "end" }, `epoch ${last}`)),
  el("figcaption", {}, "Accuracy in percent under the monitoring attack (lower pair) and on clean images: validation solid, test dashed."));
}

// -- finding one's way --------------------------------------------------------------------------------------------------

function filter() {
  const words = document.getElementById("search").value.toLowerCase().split(/\s+/).filter(Boolean), failed = document.getElementById("failed-checks").checked;
  const asked = words.length > 0 || failed, found = { rows: 0, tables: 0, figures: 0 };
  const fits = (text) => words.every((word) => text.toLowerCase().includes(word));
  for (const section of main.querySelectorAll("section.paper")) {
    let some = 0;
    for (const article of section.querySelectorAll("article")) some += filterRows(article, section, fits, failed, found);
    for (const figure of section.querySelectorAll(".figures > figure")) {
      const shown = !failed && fits(`${section.id} ${figure.textContent}`);
      figure.classList.toggle("hidden", !shown);
      found.figures += shown ? 1 : 0;
      some += shown ? 1 : 0;
    }
    section.classList.toggle("hidden", !some);
    section.querySelector("details.more").classList.toggle("hidden", asked);
  }
  const count = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;
  document.getElementById("found").textContent = !asked ? "" : found.rows + found.figures ? `${count(found.rows, "row")} in ${count(found.tables, "table")}, ${count(found.figures, "figure")}` : "nothing fits";
}

function filterRows(article, section, fits, failed, found) {
  const about = `${section.id} ${article.querySelector("h3").textContent} ${article.querySelector("thead").textContent}`;
  let some = 0;
  for (const row of article.querySelectorAll("tbody tr")) {
    const shown = fits(`${about} ${row.textContent}`) && (!failed || row.querySelector(".dagger"));
    row.classList.toggle("hidden", !shown);
    some += shown ? 1 : 0;
  }
  article.classList.toggle("hidden", !some);
  found.rows += some;
  found.tables += some ? 1 : 0;
  return some;
}

function walk(event) {
  const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }, move = moves[event.key];
  if (!move || !event.target.matches(".cell")) return;
  event.preventDefault();
  const rows = [...event.currentTarget.tBodies[0].rows].filter((row) => !row.classList.contains("hidden")), here = event.target.closest("td");
  let row = rows.indexOf(here.parentNode), column = here.cellIndex;
  for (;;) {
    row += move[0];
    column += move[1];
    const next = rows[row]?.cells[column];
    if (!next) return;
    const button = next.querySelector(".cell");
    if (button) return focus(button);
  }
}

function focus(button) {
  for (const other of button.closest("table").querySelectorAll('.cell[tabindex="0"]')) other.tabIndex = -1;
  button.tabIndex = 0;
  button.focus();
}

// Opens the cell that the address names; a name of no cell is said, not ignored.
function follow() {
  let name = location.hash.match(/^#cell=(.+)$/)?.[1];
  if (!name) return;
  try { name = decodeURIComponent(name); } catch { /* a lone % is part of the name */ }
  const button = main.querySelector(`[data-cell="${CSS.escape(name)}"]`) || document.getElementById(`cell-${anchor(name)}`), missing = document.getElementById("missing");
  missing.textContent = button ? "" : `This page has no measured cell ${name}. A cell is named PAPER/TABLE:ROW/COLUMN.`;
  missing.hidden = Boolean(button);
  if (!button) { missing.scrollIntoView({ block: "center" }); return; }
  if (button.closest(".hidden")) { document.getElementById("search").value = ""; document.getElementById("failed-checks").checked = false; filter(); }
  button.click();
  button.scrollIntoView({ block: "center", inline: "center" });
}

drawTop();
drawNav();
main.append(el("p", { id: "missing", class: "warn", role: "alert", hidden: true }), el("p", { class: "legend" }, `A dot beside a number says that a claim of the paper is about it: filled, the claim ${content.reproduces ? "stands" : "stands between these stand-ins (blue; green is kept for the papers' own scale)"} or fails (red); hollow, undecided. A dagger marks a failed sanity check. Keys: Tab to a table, arrows between cells, Enter to open, Escape to close.`),
  ...content.papers.map(drawPaper));
for (const table of main.querySelectorAll("table.grid")) table.querySelector(".cell")?.setAttribute("tabindex", "0");
document.addEventListener("keydown", (event) => { if (event.key === "Escape" && !panel.hidden) close(); });
main.addEventListener("focusin", (event) => { if (event.target.matches(".cell")) { for (const other of event.target.closest("table").querySelectorAll('.cell[tabindex="0"]')) other.tabIndex = -1; event.target.tabIndex = 0; } });
addEventListener("hashchange", follow);
follow();
