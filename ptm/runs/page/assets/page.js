// Draws the charts of the page with uPlot. The data are in the element #data, see page/data.py.
"use strict";

const page = JSON.parse(document.getElementById("data").textContent);
const isDark = matchMedia("(prefers-color-scheme: dark)");
const smoothing = document.getElementById("smoothing");
const logScale = document.getElementById("log");
const HEIGHT = 240, WIDE_HEIGHT = 320, NARROW = 700;
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

const PREFIXES = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];

function prefixOf(size, unit) {
  const least = unit ? 1e3 : 1e6;
  return PREFIXES.find(([factor]) => size >= factor && size >= least) || [1, ""];
}

function format(value, unit = "") {
  if (value === null || value === undefined) return "";
  const size = Math.abs(value);
  const [factor, prefix] = prefixOf(size, unit);
  const end = prefix + unit ? ` ${prefix}${unit}` : "";
  if (factor > 1) return (value / factor).toPrecision(4) + end;
  if (size >= 1e3) return value.toLocaleString("en", { maximumFractionDigits: size < 1e4 ? 1 : 0 }) + end;
  return (size !== 0 && size < 1e-3 ? value.toExponential(2) : String(Number(value.toPrecision(5)))) + end;
}

// The ticks of an axis have one prefix and the same number of decimals, those of their distance.
function tickTexts(ticks, unit) {
  const shown = ticks.filter((tick) => tick !== null);
  const largest = Math.max(...shown.map(Math.abs), 0);
  const [factor, prefix] = prefixOf(largest, unit);
  const end = prefix + unit ? ` ${prefix}${unit}` : "";
  const distance = shown.length > 1 ? Math.abs(shown[1] - shown[0]) / factor : 1;
  const isTiny = largest !== 0 && largest < 1e-4;
  const digits = distance > 0 ? Math.min(6, Math.max(0, -Math.floor(Math.log10(distance) + 1e-9))) : 0;
  // 0.25 needs a digit more than its size has.
  const extra = Math.abs(distance * 10 ** digits - Math.round(distance * 10 ** digits)) > 1e-6 ? 1 : 0;
  const options = { minimumFractionDigits: digits + extra, maximumFractionDigits: digits + extra };
  return ticks.map((tick) => {
    if (tick === null) return "";
    if (isTiny && tick !== 0) return tick.toExponential(1);
    return (tick / factor).toLocaleString("en", options) + (tick === 0 ? "" : end);
  });
}

// On a log scale the distances differ, so that each tick has its own digits.
function logTexts(ticks, unit) {
  return ticks.map((tick) => format(tick, unit));
}

// Vertical lines at anomalies and resumes, with a triangle on the axis.
function drawMarks(plot) {
  const { ctx, bbox } = plot;
  const ratio = devicePixelRatio || 1, bottom = bbox.top + bbox.height;
  ctx.save();
  ctx.lineWidth = ratio;
  for (const mark of page.marks) {
    const x = plot.valToPos(mark.step, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.strokeStyle = ctx.fillStyle = colour(`--${mark.kind}`);
    ctx.globalAlpha = 0.7;
    ctx.setLineDash([4 * ratio, 4 * ratio]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bottom);
    ctx.stroke();
    ctx.globalAlpha = 1;
    ctx.beginPath();
    ctx.moveTo(x, bottom - 7 * ratio);
    ctx.lineTo(x + 4 * ratio, bottom);
    ctx.lineTo(x - 4 * ratio, bottom);
    ctx.fill();
  }
  ctx.restore();
}

function marksNear(plot) {
  return page.marks
    .filter((mark) => Math.abs(plot.valToPos(mark.step, "x") - plot.cursor.left) < 4)
    .map((mark) => mark.text);
}

function axis(side, unit, isLog) {
  const isBottom = side === 2;
  return {
    side, ...(isBottom && { incrs: WHOLE }), stroke: colour("--soft"), size: isBottom ? 30 : 70, font: "12px system-ui, sans-serif",
    label: isBottom ? "step" : undefined, labelSize: 18, labelFont: "12px system-ui, sans-serif",
    grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 },
    values: (_, ticks) => (isLog ? logTexts : tickTexts)(ticks, isBottom ? "" : unit),
  };
}

// Distances of the ticks of steps, which are whole numbers.
const WHOLE = Array.from({ length: 12 }, (_, power) => [1, 2, 5].map((digit) => digit * 10 ** power)).flat();

// Below a factor of three a log scale has hardly a tick, and looks like a linear one.
function suitsLog(columns) {
  const values = columns.flat().filter((value) => value !== null);
  const least = Math.min(...values);
  return least > 0 && Math.max(...values) > 3 * least;
}

// uPlot counts its ticks from the lower end, so that this must be a number of one digit.
function logRange(_, least, most) {
  const decade = 10 ** Math.floor(Math.log10(least));
  return [Math.floor(least / decade + 1e-9) * decade, most * 1.1];
}

// Between two evaluations, a step has the value of the earlier one.
function valueAt(column, at) {
  if (column[at] !== null) return column[at];
  return column.slice(at).some((value) => value !== null) ? lastOf(column.slice(0, at)) : null;
}

function lastOf(column) {
  return column.findLast((value) => value !== null);
}

function heightOf(figure) {
  return figure.clientWidth > NARROW ? WIDE_HEIGHT : HEIGHT;
}

// The values of the pointer's step, or of the last report.
function showValues(figure, chart, plot, steps, shown) {
  const at = plot.cursor.idx, left = plot.cursor.left;
  const isInside = at !== null && at !== undefined && left >= 0;
  const texts = isInside ? [`step ${steps[at].toLocaleString("en")}`, ...marksNear(plot)] : [];
  figure.querySelector(".at").textContent = texts.join(" · ");
  figure.querySelectorAll(".keys b").forEach((key, i) => {
    const text = format(isInside ? valueAt(shown[i], at) : lastOf(shown[i]), chart.unit);
    key.textContent = text && ` ${text}`;
  });
}

function draw(figure, chart) {
  const [steps, ...columns] = aligned(chart);
  const weight = Number(smoothing.value);
  const shown = columns.map((column, i) => (chart.lines[i].smooth ? smoothed(column, weight) : column));
  const isLog = logScale.checked && suitsLog(columns);
  // What is smoothed stays visible as a faint line behind.
  const behind = weight === 0 ? [] : chart.lines.flatMap((line, i) => (line.smooth ? [i] : []));
  const series = [
    ...behind.map((i) => ({ stroke: chart.lines[i].colour + "66", width: 1, spanGaps: true, points: { show: false } })),
    ...chart.lines.map((line) => ({
      stroke: line.colour, width: 2, dash: line.dash, spanGaps: true,
      // A line with one point has no other sign of itself than its dot.
      points: { show: line.steps.length < 30, size: line.steps.length === 1 ? 9 : 5, fill: line.colour },
    })),
  ];
  const plot = new uPlot({
    width: figure.clientWidth, height: heightOf(figure), legend: { show: false },
    cursor: { y: false, sync: { key: "step" } },
    scales: { x: { time: false }, y: isLog ? { distr: 3, range: logRange } : {} },
    axes: [axis(2, "", false), axis(3, chart.unit, isLog)],
    series: [{}, ...series],
    hooks: {
      drawAxes: [drawMarks],
      setCursor: [(self) => showValues(figure, chart, self, steps, shown)],
    },
  }, [steps, ...behind.map((i) => columns[i]), ...shown], figure.querySelector(".plot"));
  showValues(figure, chart, plot, steps, shown);
  plots.push({ plot, figure });
}

function drawAll() {
  while (plots.length) plots.pop().plot.destroy();
  document.querySelectorAll("figure[data-chart]").forEach((figure) => {
    draw(figure, page.charts[Number(figure.dataset.chart)]);
  });
}

// A page that is served live is loaded again and again: what the reader chose must survive that.
function remember() {
  try {
    sessionStorage.setItem("ptm", JSON.stringify([smoothing.value, logScale.checked]));
  } catch { /* Some browsers have no storage for files. */ }
  drawAll();
}

function recall() {
  try {
    [smoothing.value, logScale.checked] = JSON.parse(sessionStorage.getItem("ptm")) || ["0", false];
  } catch { /* As above. */ }
}

function print(isPrinting) {
  document.documentElement.classList.toggle("printing", isPrinting);
  drawAll();
}

// A page without curves has no controls.
if (smoothing) {
  recall();
  smoothing.addEventListener("input", remember);
  logScale.addEventListener("change", remember);
  isDark.addEventListener("change", drawAll);
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
  addEventListener("resize", () => {
    for (const { plot, figure } of plots) plot.setSize({ width: figure.clientWidth, height: heightOf(figure) });
  });
  drawAll();
}
