// Sorts and filters the table of the zoo.
document.addEventListener("DOMContentLoaded", () => {
  const table = document.getElementById("zoo-table");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const control = (name) => document.getElementById(`zoo-${name}`);

  function filter() {
    const words = control("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const visible =
        words.every((word) => text.includes(word)) &&
        (!control("family").value || row.dataset.family === control("family").value) &&
        (!control("dataset").value || row.dataset.dataset === control("dataset").value) &&
        (!control("trained").checked || row.dataset.trained === "yes");
      row.hidden = !visible;
      shown += visible;
    }
    control("count").textContent = `${shown} of ${rows.length} entries`;
  }

  function sort(column, kind, ascending) {
    const value = (row) => row.cells[column].dataset.value;
    rows.sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (!x || !y) return (x ? 0 : 1) - (y ? 0 : 1);  // entries without a figure come last either way
      const order = kind === "number" ? Number(x) - Number(y) : x.localeCompare(y);
      return ascending ? order : -order;
    });
    body.append(...rows);
  }

  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    cell.querySelector("button").addEventListener("click", () => {
      const ascending = cell.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      sort(column, cell.dataset.kind, ascending);
    });
  });
  for (const name of ["filter", "family", "dataset", "trained"]) control(name).addEventListener("input", filter);
  filter();
});
