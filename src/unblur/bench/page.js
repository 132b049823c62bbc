"use strict";
const images = JSON.parse(document.getElementById("images").textContent);
for (const img of document.querySelectorAll("img[data-i]")) img.src = images[img.dataset.i];

// The same place of every picture of a trio, magnified.
const ZOOM = 4;
for (const trio of document.querySelectorAll(".trio")) {
  const seen = [...trio.querySelectorAll(".seen")];
  const show = (event) => {
    const frame = event.currentTarget.getBoundingClientRect();
    const across = (event.clientX - frame.left) / frame.width, down = (event.clientY - frame.top) / frame.height;
    for (const one of seen) {
      const img = one.querySelector("img"), loupe = one.querySelector(".loupe");
      const width = img.clientWidth, height = img.clientHeight, radius = 65;
      loupe.style.display = "block";
      loupe.style.left = `${across * width - radius}px`;
      loupe.style.top = `${down * height - radius}px`;
      loupe.style.backgroundImage = `url("${img.src}")`;
      loupe.style.backgroundSize = `${width * ZOOM}px ${height * ZOOM}px`;
      loupe.style.backgroundPosition = `${radius - across * width * ZOOM}px ${radius - down * height * ZOOM}px`;
    }
  };
  const hide = () => seen.forEach((one) => { one.querySelector(".loupe").style.display = "none"; });
  for (const one of seen) { one.addEventListener("pointermove", show); one.addEventListener("pointerleave", hide); }
}

// A click on a heading sorts a table by that column.
for (const head of document.querySelectorAll("table.sorts thead th")) {
  head.addEventListener("click", () => {
    const column = [...head.parentNode.children].indexOf(head), body = head.closest("table").tBodies[0];
    const up = head.dataset.up !== "1";
    head.dataset.up = up ? "1" : "0";
    const value = (row) => { const cell = row.cells[column].textContent; const number = parseFloat(cell); return isNaN(number) ? cell : number; };
    const order = (a, b) => (typeof a === typeof b ? (a > b ? 1 : a < b ? -1 : 0) : typeof a === "number" ? -1 : 1);
    [...body.rows].sort((a, b) => (up ? 1 : -1) * order(value(a), value(b))).forEach((row) => body.append(row));
  });
}
