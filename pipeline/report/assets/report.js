"use strict";
(() => {
  const root = document.documentElement;
  const rank = (key) => (key === "" ? 2 : Number.isNaN(Number(key)) ? 1 : 0);

  // numbers before text, nothing last, in either direction
  const sort = (head) => {
    const heads = [...head.parentElement.cells];
    const column = heads.indexOf(head);
    const way = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", way < 0 ? "descending" : "ascending");
    const body = head.closest("table").tBodies[0];
    const keyed = [...body.rows].map((row) => {
      const cell = row.cells[column];
      const key = cell.dataset.key ?? cell.textContent;
      return { row, key, rank: rank(key) };
    });
    keyed.sort((a, b) => a.rank - b.rank || way * (a.rank ? a.key.localeCompare(b.key) : a.key - b.key));
    body.append(...keyed.map((each) => each.row));
  };

  const copy = async (button) => {
    const before = button.textContent;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "copied";
    } catch {
      button.textContent = button.dataset.copy;
      return;
    }
    setTimeout(() => { button.textContent = before; }, 1200);
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.id === "theme") {
      const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
    } else if (button.classList.contains("copy")) copy(button);
    else if (button.parentElement.tagName === "TH") sort(button.parentElement);
  });

  document.addEventListener("input", (event) => {
    const wanted = event.target.value.toLowerCase();
    for (const row of event.target.closest("figure").querySelector("tbody").rows) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
    }
  });
})();
