"use strict";
// Tables: a click on a header sorts by it, a second one the other way round. What has no value stays last.
for (const table of document.querySelectorAll("table.sortable")) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const up = header.getAttribute("aria-sort") !== "ascending";
      headers.forEach((other) => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent;
      const compare = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === "" || y === "") return (x === "") - (y === "");
        const both = x.trim() !== "" && y.trim() !== "" && !isNaN(x) && !isNaN(y);
        const order = both ? x - y : x.localeCompare(y, "en", { numeric: true });
        return up ? order : -order;
      };
      const body = table.tBodies[0];
      body.append(...[...body.rows].sort(compare));
    });
  });
}
// Charts: the values of the mark next to the pointer or finger, in place of the browser's own slow titles.
const tip = document.getElementById("tip");
const REACH = 18;
for (const title of document.querySelectorAll(".chart svg title")) {
  title.parentNode.dataset.value = title.textContent;
  title.remove();
}
function show(event) {
  let best = null, least = REACH * REACH;
  for (const mark of event.currentTarget.querySelectorAll("[data-value]")) {
    const box = mark.getBoundingClientRect();
    const x = Math.max(box.left - event.clientX, 0, event.clientX - box.right);
    const y = Math.max(box.top - event.clientY, 0, event.clientY - box.bottom);
    if (x * x + y * y < least) [best, least] = [mark, x * x + y * y];
  }
  tip.hidden = !best;
  if (!best) return;
  tip.textContent = best.dataset.value;
  const left = Math.min(event.clientX + 12, window.innerWidth - tip.offsetWidth - 4);
  tip.style.left = `${Math.max(left, 4)}px`;
  tip.style.top = `${Math.max(event.clientY - tip.offsetHeight - 12, 4)}px`;
}
for (const chart of document.querySelectorAll(".chart")) {
  chart.addEventListener("pointermove", show);
  chart.addEventListener("pointerdown", show);
  chart.addEventListener("pointerleave", () => { tip.hidden = true; });
}
