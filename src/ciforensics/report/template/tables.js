// Tables sort by their heads and filter by their words. Without this script they are only longer to read.
"use strict";

const NOTHING = "–"; // what a table shows for NULL: last in either order
const FILTERED = 8; // a table with more rows gets a filter
const texts = new Intl.Collator("en", { numeric: true });

// "2,310", "-0.5", "90.0 %" and "1e-05" are numbers; columns of numbers are marked as such.
const number = (text) => parseFloat(text.replace(/,/g, ""));

function compare(one, other, numeric) {
  const between = numeric ? number(one) - number(other) : NaN;
  return Number.isNaN(between) ? texts.compare(one, other) : between;
}

function sort(table, head) {
  const numeric = head.classList.contains("number");
  // First what one looks for: the largest number, the first name. The third time is the order it came in.
  const orders = numeric ? ["descending", "ascending"] : ["ascending", "descending"];
  const order = orders[orders.indexOf(head.getAttribute("aria-sort")) + 1];
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  if (order) head.setAttribute("aria-sort", order);
  const sign = order === "descending" ? -1 : 1;
  const body = table.tBodies[0];
  const rows = [...body.rows].sort((a, b) => a.dataset.place - b.dataset.place);
  if (order) {
    rows.sort((a, b) => {
      const [one, other] = [a, b].map((row) => row.cells[head.cellIndex].textContent);
      const last = (one === NOTHING) - (other === NOTHING);
      return last || sign * compare(one, other, numeric);
    });
  }
  body.append(...rows);
}

function sortable(table) {
  [...table.tBodies[0].rows].forEach((row, place) => { row.dataset.place = place; });
  for (const head of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(table, head));
    head.append(button);
  }
}

function filterable(table, box) {
  const rows = [...table.tBodies[0].rows];
  const line = document.createElement("p");
  line.className = "filter";
  const label = document.createElement("label");
  const field = document.createElement("input");
  const said = document.createElement("output");
  field.type = "search";
  field.placeholder = "words of a row";
  label.append("Filter ", field);
  line.append(label, " ", said);
  box.before(line);
  if (table.caption) field.setAttribute("aria-label", `Filter: ${table.caption.textContent}`);
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/);
    for (const row of rows) {
      const text = [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    const left = rows.filter((row) => !row.hidden).length;
    said.textContent = field.value.trim() ? `${left} of the ${rows.length} rows here` : "";
  });
}

// What is wider than the page scrolls in its box, by keyboard too.
function reachable(box) {
  if (box.scrollWidth > box.clientWidth) {
    box.tabIndex = 0;
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", box.querySelector("caption")?.textContent ?? "Scrolls sideways");
  } else {
    for (const name of ["tabindex", "role", "aria-label"]) box.removeAttribute(name);
  }
}

for (const table of document.querySelectorAll("table.ci-table")) {
  if (table.tBodies[0]?.rows.length > 1) sortable(table);
  if (table.tBodies[0]?.rows.length > FILTERED) filterable(table, table.closest(".scroll") ?? table);
}
const boxes = new ResizeObserver((seen) => seen.forEach(({ target }) => reachable(target)));
for (const box of document.querySelectorAll(".scroll, pre")) boxes.observe(box);
