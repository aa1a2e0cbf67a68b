// Draws the charts of the page with uPlot. The data are in the element #data, see page/data.py.
"use strict";

const page = JSON.parse(document.getElementById("data").textContent);
const isDark = matchMedia("(prefers-color-scheme: dark)");
const smoothing = document.getElementById("smoothing");
const logScale = document.getElementById("log");
const HEIGHT = 260;
const plots = [];

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// Exponential moving average with the bias of its start removed. Gaps stay gaps.
function smoothed(values, weight) {
  let mean = 0, total = 0;
  return values.map((value) => {
    if (value === null || weight === 0) return value;
    mean = weight * mean + (1 - weight) * value;
    total = weight * total + (1 - weight);
    return mean / total;
  });
}

// All lines of a chart over one axis: uPlot wants the same steps for all of them.
function aligned(chart) {
  const steps = [...new Set(chart.lines.flatMap((line) => line.steps))].sort((a, b) => a - b);
  const places = new Map(steps.map((step, index) => [step, index]));
  const columns = chart.lines.map((line) => {
    const column = new Array(steps.length).fill(null);
    line.steps.forEach((step, index) => { column[places.get(step)] = line.values[index]; });
    return column;
  });
  return [steps, ...columns];
}

function format(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= 1e9) return (value / 1e9).toPrecision(4) + " G";
  if (size >= 1e6) return (value / 1e6).toPrecision(4) + " M";
  if (size >= 1e4) return Math.round(value).toLocaleString("en");
  return size !== 0 && size < 1e-3 ? value.toExponential(2) : String(Number(value.toPrecision(5)));
}

// Vertical lines at anomalies, resumes and the like.
function drawMarks(plot) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.setLineDash([4, 4]);
  for (const mark of page.marks) {
    const x = plot.valToPos(mark.step, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.strokeStyle = mark.kind === "anomaly" ? "#cf222e" : "#9a6700";
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}

function axis(side) {
  return {
    side, stroke: colour("--soft"), size: side === 3 ? 64 : 36,
    grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 },
    values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : format(tick))),
  };
}

function draw(figure, chart) {
  const [steps, ...columns] = aligned(chart);
  const weight = Number(smoothing.value);
  const shown = columns.map((column, i) => (chart.lines[i].smooth ? smoothed(column, weight) : column));
  const positive = shown.every((column) => column.every((value) => value === null || value > 0));
  const keys = figure.querySelector(".keys");
  const plot = new uPlot({
    width: figure.clientWidth, height: HEIGHT, cursor: { y: false },
    legend: { show: false },
    scales: { x: { time: false }, y: { distr: logScale.checked && positive ? 3 : 1 } },
    axes: [axis(2), axis(3)],
    series: [{}, ...chart.lines.map((line) => ({
      stroke: line.colour, width: 1.5, dash: line.dash || [], spanGaps: true,
      points: { show: line.steps.length < 30, size: 5 },
    }))],
    hooks: {
      draw: [drawMarks],
      setCursor: [(self) => {
        const at = self.cursor.idx;
        figure.querySelector(".at").textContent = at === null || at === undefined ? "" : `step ${format(steps[at])}`;
        keys.querySelectorAll("b").forEach((key, i) => {
          const value = at === null || at === undefined ? null : shown[i][at];
          key.textContent = value === null ? "" : " " + format(value);
        });
      }],
    },
  }, [steps, ...shown], figure.querySelector(".plot"));
  plots.push({ plot, figure });
}

function drawAll() {
  while (plots.length) plots.pop().plot.destroy();
  document.querySelectorAll("figure[data-chart]").forEach((figure) => {
    draw(figure, page.charts[Number(figure.dataset.chart)]);
  });
}

smoothing.addEventListener("input", drawAll);
logScale.addEventListener("change", drawAll);
isDark.addEventListener("change", drawAll);
addEventListener("resize", () => {
  for (const { plot, figure } of plots) plot.setSize({ width: figure.clientWidth, height: HEIGHT });
});
drawAll();
