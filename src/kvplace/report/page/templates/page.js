"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const input = document.getElementById("search");
  const body = document.getElementById("rows");
  const found = document.getElementById("found");
  const most = 200;
  const first = body.children.length;
  const index = data.models.map((row) => (row[0] + " " + row[3] + " " + row[8]).toLowerCase());
  const number = (n) => n.toLocaleString("en-US");

  const line = (row) => {
    const tr = document.createElement("tr");
    row.slice(0, 8).forEach((text, at) => {
      const cell = document.createElement(at === 0 ? "th" : "td");
      if (at === 0) cell.scope = "row";
      if (at === 1 || at > 3) cell.className = "num";
      if (at === 3) {
        cell.className = "where"; // a GPU is not broken, the list of them is
        text.split(" ").forEach((gpu, place) => {
          const span = document.createElement("span");
          span.textContent = gpu;
          cell.append(place ? " " : "", span);
        });
      } else {
        cell.textContent = text;
      }
      tr.append(cell);
    });
    return tr;
  };

  const show = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const limit = words.length ? most : first;
    const rows = [];
    let count = 0;
    for (let at = 0; at < index.length; at += 1) {
      if (words.every((word) => index[at].includes(word))) {
        count += 1;
        if (rows.length < limit) rows.push(line(data.models[at]));
      }
    }
    body.replaceChildren(...rows);
    found.textContent = words.length
      ? number(count) + " found" + (count > rows.length ? ", " + number(rows.length) + " shown" : "")
      : number(rows.length) + " of " + number(index.length) + " shown";
  };

  let waiting = 0;
  input.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(show, 60);
  });

  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    closed.forEach((one) => { one.open = true; });
  });
  window.addEventListener("afterprint", () => {
    closed.forEach((one) => { one.open = false; });
  });
})();
