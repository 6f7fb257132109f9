"use strict";
// Draws the report from the figures in the page. Ids come from files and may hold anything: they
// reach the page as text only, never as HTML.

const figures = JSON.parse(document.getElementById("figures").textContent);
const specifications = JSON.parse(document.getElementById("chart-specifications").textContent);

const MOST_CLASSES = 40; // of a chart with a row for each class
const MOST_LINES = 60; // of the chart with a line for each class

const MANY = new Intl.NumberFormat("en-US");
const number = (n) => MANY.format(n);
const count = (n, one, many = one + "s") => `${number(n)} ${n === 1 ? one : many}`;
const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)}%`;
const fewStudents = `fewer than ${count(figures.least, "student")}`;
const few = `${fewStudents}: not shown`;
const orTelling = `not shown: ${fewStudents}, or it would tell of such a group`;
const grain = figures.grain;

// Dates are days without a zone: as local midnight they are the same day everywhere.
const midnight = (day) => `${day}T00:00:00`;
const dayName = (day) =>
  new Date(midnight(day)).toLocaleDateString("en-US", { year: "numeric", month: "short", day: "numeric" });
const periodName = (day) =>
  grain === "day"
    ? dayName(day)
    : grain === "week"
      ? `week of ${dayName(day)}`
      : new Date(midnight(day)).toLocaleDateString("en-US", { year: "numeric", month: "long" });

const periods = figures.periods.map(([start, days], index) => ({ index, start, days, name: periodName(start) }));
const classes = figures.classes.map(([id, students], index) => ({ index, id, students, cells: new Map() }));
const cellOf = ([present, recorded, total, assessments]) => ({ present, recorded, total, assessments });
for (const [classIndex, period, ...sums] of figures.cells) {
  classes[classIndex].cells.set(period, cellOf(sums));
}
const school = {
  id: "All classes",
  students: figures.active_students,
  cells: new Map(figures.school.map((sums, period) => [period, cellOf(sums)])),
};

// --- building blocks ---------------------------------------------------------------------------

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** A table with a caption; a column is [title, function of a row, whether it holds numbers]. */
function table(caption, columns, rows) {
  const head = element("tr");
  for (const [title, , numeric] of columns) {
    head.append(element("th", { scope: "col", class: numeric ? "n" : "" }, title));
  }
  const body = element("tbody");
  for (const row of rows) {
    const line = element("tr");
    for (const [, value, numeric] of columns) {
      line.append(element("td", { class: numeric ? "n" : "" }, String(value(row) ?? "")));
    }
    body.append(line);
  }
  return element("table", {}, element("caption", {}, caption), element("thead", {}, head), body);
}

const views = {};

/** A section with a heading, a caption, a chart and the same numbers as a table. */
function chartSection(name, { title, shape = "" }) {
  const section = element("section", { class: `card ${shape}`, id: name, "aria-labelledby": `${name}-title` });
  section.append(element("h2", { id: `${name}-title` }, title));
  section.append(element("p", { class: "caption" }));
  section.append(element("ul", { class: "key", hidden: "" }));
  section.append(element("div", { class: "chart", role: "img" }));
  const shown = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${title}: table` });
  section.append(element("details", {}, element("summary", {}, "The numbers as a table"), shown));
  document.getElementById("charts").append(section);
  return section;
}

async function draw(name, { caption, alt, rows, columns, tableRows = rows, key = null }) {
  const section = document.getElementById(name);
  section.querySelector(".caption").textContent = caption;
  const list = section.querySelector(".key");
  list.hidden = !key;
  list.replaceChildren(...(key ?? []).map(([look, text]) => element("li", {}, element("i", look), text)));
  const place = section.querySelector(".chart");
  const details = section.querySelector("details");
  details.hidden = !tableRows.length;
  details.querySelector(".scroll").replaceChildren(table(caption, columns, tableRows));
  views[name]?.finalize();
  delete views[name];
  if (!rows.length) {
    place.removeAttribute("role");
    place.removeAttribute("aria-label");
    place.replaceChildren(element("p", { class: "empty" }, alt));
    return;
  }
  place.replaceChildren();
  const specification = structuredClone(specifications[name]);
  specification.data = { name: "rows", values: rows };
  const dates = specification.encoding.x?.axis;
  if (grain === "month" && dates?.format?.includes("%b")) dates.format = "%b %Y";
  views[name] = await vegaEmbed(place, specification, {
    actions: false,
    ast: true, // expressions are interpreted: the page allows no other scripts than its own
    renderer: "svg",
    logLevel: vega.Error, // a filter may leave a layer without rows, of which Vega warns
    config: CONFIG,
    tooltip: { theme: "custom" },
  });
  place.removeAttribute("aria-roledescription");
  place.setAttribute("role", "img");
  place.setAttribute("aria-label", alt);
}

// Colors are the page's variables, so that a chart follows light, dark and print by itself.
const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
const CONFIG = {
  aria: false, // the chart as a whole has a text, and a table beside it
  background: "transparent",
  font: FONT,
  view: { stroke: null },
  axis: {
    labelColor: "var(--muted)",
    titleColor: "var(--muted)",
    gridColor: "var(--grid)",
    domainColor: "var(--rule)",
    tickColor: "var(--rule)",
    labelFontSize: 12,
    titleFontSize: 12,
    titleFontWeight: "normal",
  },
  legend: { labelColor: "var(--muted)", labelFontSize: 12, symbolStrokeWidth: 0 },
  text: { fontSize: 12 },
};

// --- what is chosen ----------------------------------------------------------------------------

const choose = {
  class: document.getElementById("class"),
  from: document.getElementById("from"),
  to: document.getElementById("to"),
};

/** The last day of a period. */
function endOf({ start }) {
  const day = new Date(midnight(start));
  if (grain === "week") day.setDate(day.getDate() + 6);
  if (grain === "month") day.setMonth(day.getMonth() + 1, 0);
  const two = (n) => String(n).padStart(2, "0");
  return `${day.getFullYear()}-${two(day.getMonth() + 1)}-${two(day.getDate())}`;
}

function chosen() {
  const one = choose.class.value === "" ? null : classes[Number(choose.class.value)];
  const from = choose.from.value || "0000-01-01";
  const to = choose.to.value || "9999-12-31";
  return { one, within: periods.filter((period) => endOf(period) >= from && period.start <= to) };
}

/** Sums of a group over periods. What is hidden is left out, and counted. */
function sums(group, within) {
  const sum = { present: 0, recorded: 0, total: 0, assessments: 0, hidden: 0, noScores: 0 };
  for (const period of within) {
    const cell = group.cells.get(period.index);
    if (!cell) continue;
    if (cell.recorded === null) {
      sum.hidden += 1;
    } else {
      sum.present += cell.present;
      sum.recorded += cell.recorded;
    }
    if (cell.assessments === null) {
      sum.noScores += 1;
    } else {
      sum.total += cell.total;
      sum.assessments += cell.assessments;
    }
  }
  return sum;
}

// --- the headline ------------------------------------------------------------------------------

function card(title, value, ...lines) {
  const words = !/\d/.test(value) || value.length > 14;
  const made = element("div", { class: "card" }, element("h2", {}, title));
  made.append(element("p", { class: words ? "number words" : "number" }, value));
  made.append(...lines.filter(Boolean));
  return made;
}

const small = (...text) => element("p", { class: "small" }, ...text);

/** A line without axes: only the shape. Its numbers are in the charts below. */
function spark(values) {
  const known = values.filter((value) => value !== null);
  if (known.length < 3) return null;
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const y = (value) => 28 - 24 * (high > low ? (value - low) / (high - low) : 0.5);
  let path = "";
  let pen = "M";
  values.forEach((value, index) => {
    if (value === null) {
      pen = "M";
      return;
    }
    path += `${pen}${((100 * index) / (values.length - 1)).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = "L";
  });
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "spark");
  svg.setAttribute("viewBox", "0 0 100 32");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

/** How the later half of the periods compares with the earlier one: a sentence, or nothing. */
function change(group, within, value, unit) {
  const known = within.filter((period) => value(sums(group, [period])) !== null);
  if (known.length < 4) return null;
  const middle = Math.floor(known.length / 2);
  const [before, after] = [value(sums(group, known.slice(0, middle))), value(sums(group, known.slice(middle)))];
  const difference = after - before;
  const sign = difference > 0 ? "+" : difference < 0 ? "−" : "±";
  return small(
    element("span", { class: "delta" }, `${sign}${Math.abs(difference).toFixed(1)} ${unit}`),
    ` since ${dayName(known[middle].start)}, against before`,
  );
}

const rateOf = (sum) => (sum.recorded ? (100 * sum.present) / sum.recorded : null);
const scoreOf = (sum) => (sum.assessments ? sum.total / 100 / sum.assessments : null);

/** For each period with school days that is not hidden: recorded student-days as a share of those that could be.
 *
 * 1 at most: records of students who have left count as well.
 */
function knownShares(group, within) {
  if (!group.students) return [];
  return within
    .filter((period) => period.days && group.cells.get(period.index)?.recorded !== null)
    .map((period) => {
      const recorded = group.cells.get(period.index)?.recorded ?? 0;
      return { period, share: Math.min(recorded / (group.students * period.days), 1) };
    });
}

/** The share of all these periods; null where there is none. */
function coverageOf(shares) {
  const days = schoolDays(shares.map(({ period }) => period));
  return days ? shares.reduce((sum, { period, share }) => sum + share * period.days, 0) / days : null;
}

const schoolDays = (within) => within.reduce((days, period) => days + period.days, 0);

function hiddenNote(hiddenPeriods) {
  return hiddenPeriods ? small(`${count(hiddenPeriods, grain)} ${orTelling}.`) : null;
}

function drawHeadline({ one, within }) {
  const group = one ?? school;
  const sum = sums(group, within);
  const rate = rateOf(sum);
  const score = scoreOf(sum);
  const shares = knownShares(group, within);
  const coverage = coverageOf(shares);
  const daysShown = schoolDays(shares.map(({ period }) => period));
  const daysHidden = schoolDays(within) - daysShown;
  const { chronic, percent: limit, min_days: minDays, bands } = figures.absence;
  const known = bands.slice(0, -1);
  const withEnoughDays = known.some((band) => band.students === null)
    ? null
    : known.reduce((total, band) => total + band.students, 0);
  document.getElementById("headline").replaceChildren(
    card(
      `Attendance, ${one ? `class ${one.id}` : "all classes"}`,
      rate === null ? (sum.hidden ? "Not shown" : "No records") : `${rate.toFixed(1)}%`,
      small(`present on ${number(sum.present)} of ${number(sum.recorded)} recorded student-days`),
      change(group, within, rateOf, "points"),
      hiddenNote(sum.hidden),
      spark(within.map((period) => rateOf(sums(group, [period])))),
    ),
    card(
      `Average score, ${one ? `class ${one.id}` : "all classes"}`,
      score === null ? (sum.noScores ? "Not shown" : "No scores") : `${score.toFixed(1)}%`,
      small(`of the maximum, over ${count(sum.assessments, "assessment")}`),
      change(group, within, scoreOf, "points"),
      hiddenNote(sum.noScores),
      spark(within.map((period) => scoreOf(sums(group, [period])))),
    ),
    card(
      "Chronically absent, whole school",
      chronic !== null ? number(chronic) : "Not shown",
      small(
        chronic === null
          ? `${fewStudents}, or the number would tell of such a group.`
          : withEnoughDays
            ? `${percent(chronic / withEnoughDays)} of the ${count(withEnoughDays, "student")} with ${minDays} recorded days or more`
            : `students with ${minDays} recorded days or more`,
      ),
      small(`Absent on ${limit}% of the recorded days or more, for any reason. Not filtered.`),
    ),
    card(
      `How much is known, ${one ? `class ${one.id}` : "all classes"}`,
      coverage === null ? "Not known" : percent(coverage),
      small(
        coverage === null
          ? "There is no active student, no school day, or the class is too small to show."
          : `of the student-days have a record: ${count(group.students, "active student")}, ${count(daysShown, "school day")}` +
              (daysHidden ? ` (${number(daysHidden)} more not shown)` : ""),
      ),
      coverage !== null && coverage < 0.8
        ? small(`The rates speak for this part only. The rest is unknown, not absent.`)
        : null,
    ),
  );
}

// --- the charts --------------------------------------------------------------------------------

function rateRows(group, role, within) {
  return within.map((period) => {
    const cell = group.cells.get(period.index);
    const recorded = cell?.recorded || null;
    return {
      role,
      series: group.id,
      start: midnight(period.start),
      period: period.name,
      rate: recorded ? cell.present / recorded : null,
      recorded,
      hidden: Boolean(cell) && cell.recorded === null,
    };
  });
}

const shownRate = (row) => (row.hidden ? "not shown" : row.rate === null ? "no records" : percent(row.rate));

function drawAttendance({ one, within }) {
  const main = rateRows(one ?? school, "main", within);
  const others = one
    ? rateRows(school, "school", within)
    : classes.length <= MOST_LINES
      ? classes.flatMap((each) => rateRows(each, "other", within))
      : [];
  const known = main.filter((row) => row.rate !== null);
  const low = known.reduce((least, row) => (least && least.rate <= row.rate ? least : row), null);
  const last = known.at(-1);
  const name = one ? `class ${one.id}` : "all classes";
  return draw("attendance", {
    caption:
      `Of the students whose attendance was recorded, how many were there (late counts as there). ` +
      (one
        ? `Strong line: ${name}; dashed: all classes.`
        : others.length
          ? `Strong line: all classes; thin lines: each class.`
          : `Choose a class to see it beside all classes.`) +
      ` The axis does not start at zero.`,
    alt: known.length
      ? `Attendance of ${name} over ${count(known.length, grain)}: ${percent(last.rate)} at the end (${last.period}), lowest ${percent(low.rate)} (${low.period}).`
      : `There is no attendance of ${name} to show.`,
    rows: known.length ? [...others, ...main] : [],
    tableRows: main,
    columns: [
      ["Period", (row) => row.period],
      ["Attendance", shownRate, true],
      ["Records", (row) => (row.recorded === null ? "" : number(row.recorded)), true],
    ],
  });
}

function drawHeatMap({ one, within }) {
  const candidates = (one ? [one] : classes)
    .map((each) => ({ each, rate: rateOf(sums(each, within)), seen: within.some((period) => each.cells.get(period.index)?.recorded !== 0 && each.cells.has(period.index)) }))
    .filter(({ seen }) => seen);
  const cut = candidates.length > MOST_CLASSES;
  const kept = cut
    ? [...candidates].sort((a, b) => (a.rate ?? 101) - (b.rate ?? 101)).slice(0, MOST_CLASSES)
    : candidates;
  kept.sort((a, b) => a.each.index - b.each.index);
  const rows = kept.flatMap(({ each }) =>
    rateRows(each, "", within)
      .filter((row) => row.hidden || row.rate !== null)
      .map((row) => ({
        ...row,
        class: row.series,
        state: row.hidden ? "hidden" : "shown",
        shown: shownRate(row),
        records: row.recorded === null ? "" : number(row.recorded),
      })),
  );
  const shown = rows.filter((row) => row.state === "shown");
  return draw("attendance_by_class", {
    caption:
      `Each row is a class, each column a ${grain}.` +
      (cut
        ? ` The ${MOST_CLASSES} classes with the lowest attendance, of ${number(candidates.length)}; choose a class to see any other.`
        : ""),
    alt: rows.length
      ? `Attendance of ${count(kept.length, "class", "classes")} by ${grain}: ${count(shown.length, "rate")}, ${number(rows.length - shown.length)} hidden.`
      : "There is no attendance to show.",
    key: rows.length
      ? [
          [{ class: "ramp" }, "70% or less, to 90%, to 100%"],
          [{ class: "unknown" }, orTelling],
          [{}, "no records: unknown"],
        ]
      : null,
    rows,
    columns: [
      ["Class", (row) => row.class],
      ["Period", (row) => row.period],
      ["Attendance", (row) => row.shown, true],
      ["Records", (row) => row.records, true],
    ],
  });
}

function drawCoverage({ one, within }) {
  const group = one ?? school;
  const days = knownShares(group, within);
  const rows = days.flatMap(({ period, share }) =>
    [
      ["recorded", share],
      ["unknown", 1 - share],
    ].map(([kind, part], order) => ({ kind, share: part, order, start: midnight(period.start), period: period.name })),
  );
  const all = coverageOf(days);
  return draw("coverage", {
    caption:
      `Share of the ${one ? `active students of class ${one.id}` : "active students of the school"} with a record on a school day. ` +
      `Gray is unknown, not absent. A school day is one on which anybody's attendance was recorded.`,
    alt: rows.length
      ? `${percent(all)} of the student-days have a record, ${percent(1 - all)} are unknown.`
      : `There is nothing to show: no school day, no active student, or ${few}.`,
    key: rows.length
      ? [
          [{ class: "recorded" }, "recorded"],
          [{ class: "unknown" }, "unknown"],
        ]
      : null,
    rows,
    tableRows: days,
    columns: [
      ["Period", (row) => row.period.name],
      ["Recorded", (row) => percent(row.share), true],
      ["Unknown", (row) => percent(1 - row.share), true],
    ],
  });
}

const BANDS = specifications.scores_by_subject.encoding.color.scale;

function drawSubjects() {
  const { rows, few: hiddenSubjects, left_out: leftOut } = figures.subjects;
  const shown = rows.map(([subject, band, share]) => ({ subject, band, percent: share, order: BANDS.domain.indexOf(band) }));
  const subjects = new Set(shown.map((row) => row.subject)).size;
  return draw("scores_by_subject", {
    caption:
      `How the scores of each subject are spread, in percent of the maximum. All classes, all dates of this page.` +
      (shown.some((row) => row.band === "hidden") ? ` Gray: bands of ${few}, with the next smallest one.` : "") +
      (hiddenSubjects ? ` ${count(hiddenSubjects, "subject")} with ${few}.` : "") +
      (leftOut ? ` ${count(leftOut, "subject")} with fewer assessments left out.` : ""),
    key: shown.length
      ? BANDS.domain
          .map((band, place) => [{ style: `background: ${BANDS.range[place]}` }, band])
          .filter((_, place) => shown.some((row) => row.order === place))
      : null,
    alt: shown.length ? `Spread of the scores of ${count(subjects, "subject")}.` : "There are no scores to show.",
    rows: shown,
    columns: [
      ["Subject", (row) => row.subject],
      ["Score in percent", (row) => row.band],
      ["Percent of the assessments", (row) => row.percent.toFixed(1), true],
    ],
  });
}

function drawQuartiles({ one }) {
  const all = figures.quartiles.map(([index, subject, lower, median, upper]) => ({
    name: one ? subject || "All subjects" : classes[index].id,
    index,
    subject,
    lower,
    median,
    upper,
  }));
  const fitting = one ? all.filter((row) => row.index === one.index) : all.filter((row) => row.subject === "");
  const cut = fitting.length > MOST_CLASSES;
  const rows = cut ? [...fitting].sort((a, b) => a.median - b.median).slice(0, MOST_CLASSES) : fitting;
  return draw("scores_by_class", {
    caption:
      (one
        ? `Class ${one.id} by subject: half of the scores lie within the bar, the stroke is the median.`
        : `Half of a class's scores lie within its bar, the stroke is the median. Choose a class to see its subjects.`) +
      ` All dates of this page. Groups of ${few}.` +
      (cut ? ` The ${MOST_CLASSES} lowest of ${number(fitting.length)} classes.` : ""),
    alt: rows.length
      ? `Medians of ${count(rows.length, "group")}: from ${Math.min(...rows.map((row) => row.median)).toFixed(0)} to ${Math.max(...rows.map((row) => row.median)).toFixed(0)} percent.`
      : "There are no scores to show, or only of groups that are too small.",
    rows,
    columns: [
      [one ? "Subject" : "Class", (row) => row.name],
      ["Lower quartile", (row) => row.lower.toFixed(1), true],
      ["Median", (row) => row.median.toFixed(1), true],
      ["Upper quartile", (row) => row.upper.toFixed(1), true],
    ],
  });
}

function drawAbsence() {
  const { bands, students } = figures.absence;
  const shown = (row) => (row.students === null ? "not shown" : number(row.students));
  const rows = bands.map((row, order) => ({
    ...row,
    shown: shown(row),
    at: row.students ?? 0,
    kind: order === bands.length - 1 ? "unknown" : row.band.endsWith("(chronic)") ? "chronic" : "good",
  }));
  const some = rows.some((row) => row.students === null);
  return draw("absence", {
    caption:
      `Students by the share of their recorded days on which they were absent, excused or not. Whole school with leavers, all dates; not filtered: within one class nearly every band would be too small to show.` +
      (some ? ` Not shown: ${fewStudents}, or a band that would tell of such a group.` : ""),
    alt: students
      ? rows.map((row) => `${row.band}: ${row.shown}`).join("; ") + "."
      : students === 0
        ? "There are no students yet."
        : `There are ${few}.`,
    rows: students ? rows : [],
    columns: [
      ["Absent", (row) => row.band],
      ["Students", (row) => row.shown, true],
    ],
  });
}

function drawQuarantine() {
  const rows = figures.quarantine.map((row) => ({ ...row, name: `${row.source}: ${row.reason.replaceAll("_", " ")}` }));
  const total = rows.reduce((sum, row) => sum + row.records, 0);
  return draw("quarantine", {
    caption:
      `Records that could not be used, as a registrar would mend them in the school's system. They count nowhere else: what they tell is unknown. All classes and dates.`,
    alt: rows.length ? `${count(total, "record")} refused: ${rows.map((row) => `${row.name} ${number(row.records)}`).join(", ")}.` : "No record is in the quarantine.",
    rows,
    columns: [
      ["Source", (row) => row.source],
      ["Reason", (row) => row.means],
      ["Records", (row) => number(row.records), true],
    ],
  });
}

// --- freshness, students, notes ----------------------------------------------------------------

function moment(iso) {
  return iso ? `${dayName(iso.slice(0, 10))}, ${iso.slice(11, 16)}` : "never";
}

function daysBefore(day, now) {
  return Math.round((new Date(midnight(now)) - new Date(midnight(day))) / 86_400_000);
}

function drawFreshness() {
  const { newest_attendance, newest_assessment, last_load, files, refused } = figures.freshness;
  const made = figures.made.slice(0, 10);
  const age = (day) => {
    if (!day) return "none yet";
    const days = daysBefore(day, made);
    return days > 0 ? `${dayName(day)}, ${count(days, "day")} before this page was made` : dayName(day);
  };
  const list = element("dl");
  for (const [term, text] of [
    ["Newest attendance", age(newest_attendance)],
    ["Newest assessment", age(newest_assessment)],
    ["Last file loaded", `${moment(last_load)} (${count(files, "file")} in all)`],
    ["Refused in the last run", refused ? count(refused, "file") : "no file"],
    ["Page made", `${moment(figures.made)} (${figures.time_zone})`],
    ["Run", figures.run],
  ]) {
    list.append(element("div", {}, element("dt", {}, term), element("dd", {}, text)));
  }
  const section = element("section", { class: "card wide", id: "freshness", "aria-labelledby": "freshness-title" });
  section.append(element("h2", { id: "freshness-title" }, "How fresh the data is"));
  section.append(element("p", { class: "caption" }, "This page is a picture of one run; it does not change by itself."), list);
  document.getElementById("charts").append(section);
}

function drawStudents() {
  if (figures.students === null) return;
  const named = figures.students.some(([, name]) => name !== null);
  const section = element("section", { class: "card wide", id: "students", "aria-labelledby": "students-title" });
  section.append(element("h2", { id: "students-title" }, "Active students who are chronically absent"));
  section.append(
    element("p", { class: "caption" }, "Most days absent first. For people who may see single students: the rule report_students allows this list."),
    element(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Chronically absent students: table" },
      table(
        figures.students.length ? count(figures.students.length, "student") : "No student",
        [
          ["Student", ([id]) => id],
          ...(named ? [["Name", (row) => row[1]]] : []),
          ["Class", (row) => row[2]],
          ["Days absent", (row) => number(row[3]), true],
          ["Days recorded", (row) => number(row[4]), true],
          ["Average score", (row) => (row[5] === null ? "" : `${row[5].toFixed(1)}%`), true],
        ],
        figures.students,
      ),
    ),
  );
  document.getElementById("charts").append(section);
}

function drawNotes() {
  const notes = [
    `Groups of fewer than ${count(figures.least, "student")} are not shown. Where one would follow from a total and the other groups, the next smallest group is hidden with it. What is hidden is not in this file.`,
    `Unknown is not absent. A student without a record on a day is neither present nor absent here; look at how much is known before you compare rates.`,
    `A student counts in today's class, on past days too.`,
    `Scores are percentages of the maximum of each assessment; each assessment weighs the same.`,
    `Refused records are in no number but their own count.`,
  ];
  if (grain !== "day") {
    notes.push(`There are too many class-days for one page: every point is a ${grain}. The published tables have every day.`);
  }
  if (figures.older_dates) {
    notes.push(`${count(figures.older_dates, "older date")} left out here; the published tables have all of them.`);
  }
  if (figures.classes_left_out) {
    notes.push(`The ${count(figures.classes_left_out, "smallest class", "smallest classes")} can't be chosen here, but count in the totals.`);
  }
  if (figures.students === null) {
    notes.push(`No single student is on this page.`);
  }
  const list = element("ul");
  notes.forEach((note) => list.append(element("li", {}, note)));
  document.getElementById("notes").append(element("h2", {}, "How to read this page"), list);
}

// --- the page ----------------------------------------------------------------------------------

function describe({ one, within }) {
  const span = within.length ? `${within[0].name} to ${within.at(-1).name}` : "no date";
  return `${one ? `Class ${one.id}` : "All classes"}, ${span}: ${count(within.length, grain)} with data.`;
}

let drawing = Promise.resolve();

/** Draw what depends on the filters; one drawing after the other. */
function update() {
  drawing = drawing.then(async () => {
    const choice = chosen();
    document.getElementById("selection").textContent = periods.length ? describe(choice) : "";
    drawHeadline(choice);
    await drawAttendance(choice);
    await drawHeatMap(choice);
    await drawQuartiles(choice);
    await drawCoverage(choice);
    document.body.dataset.drawn = String(Number(document.body.dataset.drawn ?? 0) + 1);
  });
  return drawing;
}

async function start() {
  document.getElementById("about").textContent =
    `Made on ${moment(figures.made)} (${figures.time_zone})` +
    (periods.length
      ? `, from data of ${dayName(periods[0].start)} to ${dayName(endOf(periods.at(-1)) < figures.made.slice(0, 10) ? endOf(periods.at(-1)) : figures.made.slice(0, 10))}.`
      : `. There is no attendance and no assessment yet: this page will fill when files arrive.`);
  const old = daysBefore(figures.made.slice(0, 10), new Date().toLocaleDateString("en-CA"));
  if (old > 2) {
    const warning = document.getElementById("warning");
    warning.textContent = `This page is ${count(old, "day")} old.`;
    warning.hidden = false;
  }
  for (const each of classes) {
    choose.class.append(element("option", { value: each.index }, each.id));
  }
  if (periods.length) {
    for (const field of [choose.from, choose.to]) {
      field.min = periods[0].start;
      field.max = endOf(periods.at(-1));
    }
    choose.from.defaultValue = choose.from.min;
    choose.to.defaultValue = choose.to.max;
  }
  chartSection("attendance", { title: "Attendance over time", shape: "wide" });
  chartSection("attendance_by_class", { title: `Attendance by class and ${grain}`, shape: "wide" });
  chartSection("absence", { title: "Students by absence" });
  chartSection("coverage", { title: "How much is known" });
  chartSection("scores_by_subject", { title: "Scores by subject" });
  chartSection("scores_by_class", { title: "Scores by class", shape: "tall" });
  chartSection("quarantine", { title: "Refused records" });
  drawFreshness();
  drawStudents();
  drawNotes();
  document.getElementById("filters").addEventListener("input", update);
  document.getElementById("filters").addEventListener("reset", () => setTimeout(update));
  document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
  await drawAbsence();
  await drawSubjects();
  await drawQuarantine();
  await update();
}

start();
