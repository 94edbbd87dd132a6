const dialog = document.getElementById("large");
const [title, large, fold, folds] = ["h2", "img", "output", "input"].map((name) =>
  dialog.querySelector(name),
);
let rows = [];
let row = 0;
let column = 0;

function show() {
  const picture = rows[row][Math.min(column, rows[row].length - 1)];
  title.textContent = picture.alt;
  large.src = picture.src;
  large.alt = picture.title;
  large.title = picture.title;
  fold.textContent = picture.dataset.fold;
  folds.max = rows[row].length - 1;
  folds.value = column;
}

function open(picture) {
  const table = picture.closest("table");
  rows = [...table.tBodies[0].rows].map((one) => [...one.querySelectorAll("img")]);
  rows = rows.filter((one) => one.length > 0);
  row = rows.findIndex((one) => one.includes(picture));
  column = rows[row].indexOf(picture);
  show();
  dialog.showModal();
}

for (const picture of document.querySelectorAll(".matrix img")) {
  picture.addEventListener("click", () => open(picture));
  picture.addEventListener("keydown", (event) => {
    if (event.key === "Enter") open(picture);
  });
}
folds.addEventListener("input", () => {
  column = Number(folds.value);
  show();
});
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});
dialog.addEventListener("keydown", (event) => {
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  if (!(event.key in step)) return;
  event.preventDefault();
  const [down, right] = step[event.key];
  const before = rows[row][Math.min(column, rows[row].length - 1)].dataset.fold;
  row = Math.min(Math.max(row + down, 0), rows.length - 1);
  // Where pictures are missing, the same fold stands elsewhere in its row.
  const same = rows[row].findIndex((one) => one.dataset.fold === before);
  if (same >= 0) column = same;
  column = Math.min(Math.max(column + right, 0), rows[row].length - 1);
  show();
});
