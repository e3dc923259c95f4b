"use strict";
// Charts, and the legend that both share. Without this script the page shows still pictures instead.
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const arms = [...document.querySelectorAll("input[name=arm]")];
  const training = document.getElementById("training");
  const from = document.getElementById("from");
  const views = [];

  function update() {
    const hidden = arms.filter((arm) => !arm.checked).map((arm) => arm.value);
    document.getElementById("from-shown").value = from.value;
    for (const view of views) {
      view.signal("hidden", hidden).signal("training", training.checked).signal("from", Number(from.value)).runAsync();
    }
  }

  const tip = document.getElementById("tip");
  function tooltip(handler, event, item, value) {
    const row = item && (item.datum.datum || item.datum);
    tip.hidden = !value || !row || !row.text;
    if (tip.hidden) { return; }
    tip.textContent = row.text;
    const right = event.clientX + 16 + tip.offsetWidth > document.documentElement.clientWidth;
    tip.style.left = `${right ? event.clientX - 12 - tip.offsetWidth : event.clientX + 16}px`;
    tip.style.top = `${event.clientY + 14}px`;
  }

  // The interpreter of expressions (ast) needs no eval, which the page's policy forbids.
  // Errors are logged, warnings are not: Vega warns of every layer that has nothing to show for now.
  const options = { mode: "vega-lite", actions: false, renderer: "svg", ast: true, tooltip, logLevel: 1 };
  const drawn = Object.entries(charts).map(([name, specification]) =>
    window.vegaEmbed(document.getElementById(`chart-${name}`), specification, options).then((result) => {
      views.push(result.view);
    })
  );
  for (const control of [...arms, training, from]) {
    control.addEventListener("input", update);
  }
  Promise.all(drawn).then(() => {
    update(); // a reloaded page keeps what was ticked
    document.documentElement.dataset.ready = "yes";
  });

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details.prints:not([open])")];
    closed.forEach((one) => { one.open = true; });
  });
  addEventListener("afterprint", () => closed.forEach((one) => { one.open = false; }));
})();
