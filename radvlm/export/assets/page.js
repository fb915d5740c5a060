"use strict";
// The viewer of report.html: three planes drawn on 2D canvases from the arrays packed in the page.
// Array order is i fastest, then j, then k (right, anterior, superior). Every plane shows growing indices leftwards
// and upwards, which is the radiological convention for all three.
(() => {
  const one = (selector, root) => (root || document).querySelector(selector);
  const all = (selector, root) => Array.from((root || document).querySelectorAll(selector));
  const page = JSON.parse(one("#page-data").textContent);
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const narrow = matchMedia("(max-width: 699px)");
  const sentences = all(".s").sort((a, b) => a.dataset.s - b.dataset.s);
  const inOrder = all(".s");
  const GROUP = { lesion: [255, 163, 26], fluid: [47, 211, 165], organ: [85, 184, 240], vessel: [229, 138, 192],
    bone: [233, 221, 79], device: [255, 122, 89] };
  const rgb = (group, alpha) => `rgba(${GROUP[group].join(",")},${alpha})`;

  /* Tables that sort, with or without images. */
  for (const table of all("table.sortable")) {
    all("thead th", table).forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sortBy(table, column, head));
    });
  }
  function sortBy(table, column, head) {
    const down = head.getAttribute("aria-sort") === "ascending";
    all("thead th", table).forEach((th) => th.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => {
      const cell = row.children[column];
      return cell.dataset.v !== undefined ? Number(cell.dataset.v) : cell.textContent.trim().toLowerCase();
    };
    const empty = (v) => v === "" || (typeof v === "string" && head.classList.contains("num"));
    const rows = Array.from(table.tBodies[0].rows).map((row, n) => ({ row, n, v: key(row) }));
    rows.sort((a, b) => {
      if (empty(a.v) !== empty(b.v)) return empty(a.v) ? 1 : -1; // what was not measured stays last
      const order = typeof a.v === "number" && typeof b.v === "number" ? a.v - b.v
        : String(a.v).localeCompare(String(b.v), "en", { numeric: true });
      return (down ? -order : order) || a.n - b.n;
    });
    table.tBodies[0].append(...rows.map((entry) => entry.row));
  }

  /* What is shown: chosen sentence, its regions, the point in the grid, window, magnification. */
  const view = page.view;
  const regionIndex = new Map(page.regions.map((region, n) => [region.id, n]));
  const citing = page.regions.map((_, n) => page.sentences.flatMap((s, at) => (s.regions.includes(n) ? [at] : [])));
  const state = {
    sentence: null, regions: [], main: null, cited: [], caliper: null, number: null, point: view ? view.shape.map((n) => n >> 1) : [0, 0, 0],
    width: 400, level: 40, zoom: 1, center: view ? view.shape.map((n) => n / 2) : [0, 0, 0], plane: 0,
    fill: true, outlines: false, calipers: true, cross: true, smooth: true,
  };
  const st = view ? [1, view.shape[0], view.shape[0] * view.shape[1]] : null;
  let hu = null;       // stored value of each voxel; HU = lowest + step x value
  let labels = null;
  const planes = [];
  let dirty = false;

  /* Choosing sentences and regions. */
  function choose(at, turn) {
    const regions = page.sentences[at].regions;
    state.sentence = at;
    state.regions = regions;
    state.cited = [];
    state.caliper = state.number = null;
    const position = turn && regions.length ? (regions.indexOf(state.main) + 1) % regions.length : 0;
    state.main = regions.length ? regions[position] : null;
    if (state.main !== null) goTo(state.main);
    if (view && one("#auto-window").checked) setWindow(page.sentences[at].window);
    tell(); mark(); redraw();
  }
  /* A number of a sentence: its caliper, else the region that was measured. */
  function chooseNumber(at, number) {
    const element = all(".number", sentences[at])[number];
    const line = element.dataset.caliper === undefined ? null : page.calipers[element.dataset.caliper];
    choose(at);
    state.main = Number(element.dataset.region);
    state.number = number;
    goTo(state.main);
    if (line && view) {
      state.caliper = Number(element.dataset.caliper);
      state.point = [0, 1, 2].map((n) => Math.min(Math.max(Math.round((line.a[n] + line.b[n]) / 2), 0), view.shape[n] - 1));
      if (line.slice !== null) state.point[2] = line.slice;
      if (state.zoom > 1) state.center = state.point.map((v) => v + 0.5);
    }
    tell(); mark(); redraw();
  }
  function chooseRegion(n, at) {
    state.caliper = state.number = null;
    state.sentence = at === undefined ? null : at;
    state.regions = [n];
    state.main = n;
    state.cited = citing[n];
    goTo(n);
    const from = at === undefined ? citing[n][0] : at;
    if (view && one("#auto-window").checked && from !== undefined) setWindow(page.sentences[from].window);
    tell(); mark(); redraw();
    reveal();
  }
  function clear() {
    Object.assign(state, { sentence: null, regions: [], main: null, cited: [], caliper: null, number: null });
    say("Choose a sentence to see its region, or a point in the images.");
    mark(); redraw();
  }
  function goTo(n) {
    if (!view) return;
    state.point = page.regions[n].home.slice();
    if (state.zoom > 1) state.center = state.point.map((v) => v + 0.5);
  }
  function reveal() {
    if (!state.cited.length || narrow.matches) return;
    const first = sentences[state.cited[0]];
    const box = first.getBoundingClientRect();
    if (box.top < 0 || box.bottom > innerHeight) first.scrollIntoView({ block: "center", behavior: calm ? "auto" : "smooth" });
  }
  function mark() {
    sentences.forEach((element, at) => {
      element.classList.toggle("on", at === state.sentence);
      element.classList.toggle("cites", at !== state.sentence && state.cited.includes(at));
      element.setAttribute("aria-pressed", String(at === state.sentence));
      all(".number", element).forEach((number, n) => number.classList.toggle("on", at === state.sentence && n === state.number));
    });
    const chosen = new Set(state.regions.map((n) => page.regions[n].id));
    all("tr.chosen").forEach((row) => row.classList.remove("chosen"));
    all("tbody th .link").forEach((link) => chosen.has(link.dataset.region) && link.closest("tr").classList.add("chosen"));
  }
  function say(...parts) {
    const line = one("#selection");
    if (line) line.replaceChildren(...parts);
  }
  function chip(n) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "chip";
    button.textContent = page.regions[n].name;
    button.setAttribute("aria-pressed", String(n === state.main));
    button.addEventListener("click", () => {
      const regions = state.regions, at = state.sentence;
      chooseRegion(n, at === null ? undefined : at);
      if (regions.includes(n)) state.regions = regions;
      tell(); mark(); redraw();
    });
    return button;
  }
  function tell() {
    if (!state.regions.length) {
      say("This sentence has no region: it states an absence, a limit or a fact of the scan.");
      return;
    }
    const some = state.regions.slice(0, 14).map(chip);
    const more = state.regions.length > 14 ? ` and ${state.regions.length - 14} more` : "";
    const cites = state.sentence === null && state.cited.length
      ? ` cited by ${state.cited.length} sentence${state.cited.length > 1 ? "s" : ""}` : "";
    const line = state.caliper === null ? null : page.calipers[state.caliper];
    say(...some, more + cites, line ? ` ${line.words} ${line.label}` : "");
  }

  /* Sentences: hover previews, focus and click keep, Enter or Space goes to the next region. */
  let before = null; // what to go back to when the mouse leaves
  let hover = 0;
  const keep = () => ({ ...state, point: state.point.slice(), center: state.center.slice() });
  function leave() {
    clearTimeout(hover);
    if (!before) return;
    Object.assign(state, before);
    before = null;
    if (state.sentence === null && !state.regions.length) clear(); else { tell(); mark(); }
    showWindow(); redraw();
  }
  inOrder.forEach((element, position) => {
    const at = Number(element.dataset.s);
    let was = false;
    element.addEventListener("pointerenter", (event) => {
      if (event.pointerType !== "mouse" || event.buttons) return;
      clearTimeout(hover);
      hover = setTimeout(() => {
        if (state.sentence === at) return;
        if (!before) before = keep();
        choose(at);
      }, 90);
    });
    element.addEventListener("pointerleave", leave);
    element.addEventListener("pointerdown", () => { was = (before || state).sentence === at; clearTimeout(hover); });
    element.addEventListener("click", (event) => {
      before = null;
      const number = event.target.closest(".number");
      if (number) chooseNumber(at, all(".number", element).indexOf(number)); else choose(at, was);
      was = false;
    });
    element.addEventListener("focus", () => {
      if (!element.matches(":focus-visible") || state.sentence === at) return;
      before = null;
      choose(at);
    });
    element.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        choose(at, state.sentence === at);
      } else if (event.key === "n" && all(".number", element).length) {
        event.preventDefault();
        chooseNumber(at, state.sentence === at && state.number !== null ? (state.number + 1) % all(".number", element).length : 0);
      } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        event.preventDefault();
        step(position, event.key === "ArrowDown" ? 1 : -1);
      }
    });
  });
  function step(from, by) {
    const next = inOrder[Math.min(Math.max(from + by, 0), inOrder.length - 1)];
    if (!next) return;
    before = null;
    next.focus({ focusVisible: true });
    if (state.sentence !== Number(next.dataset.s)) choose(Number(next.dataset.s));
  }
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-region]");
    if (!link || !regionIndex.has(link.dataset.region)) return;
    before = null;
    chooseRegion(regionIndex.get(link.dataset.region), link.dataset.sentence === undefined ? undefined : Number(link.dataset.sentence));
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.key === "Escape") { before = null; clear(); return; }
    if (event.target.matches("input[type=number], textarea, select")) return;
    if (event.key === "j" || event.key === "k") {
      const here = inOrder.indexOf(document.activeElement);
      const from = here >= 0 ? here : inOrder.findIndex((s) => Number(s.dataset.s) === state.sentence);
      step(from < 0 && event.key === "k" ? 0 : from, event.key === "j" ? 1 : -1);
    } else if (view) viewerKey(event);
  });

  if (!view) { window.radvlmPage = Object.freeze({ ready: Promise.resolve(true), state: () => keep() }); openHash(); return; }

  /* From here on there are images. Planes: horizontal, vertical and normal axis of the grid. */
  const AXES = { axial: [0, 1, 2], coronal: [0, 2, 1], sagittal: [1, 2, 0] };
  const SIDES = [["R", "L"], ["A", "P"], ["S", "I"]];
  for (const [name, [h, v, n]] of Object.entries(AXES)) {
    const figure = one("#plane-" + name);
    const buffer = document.createElement("canvas");
    buffer.width = view.shape[h];
    buffer.height = view.shape[v];
    const plane = { name, h, v, n, figure, canvas: one("canvas", figure), where: one(".where", figure), slider: one(".slider", figure),
      scale: one(".scale", figure), buffer, pixels: buffer.getContext("2d").createImageData(view.shape[h], view.shape[v]),
      wide: 0, high: 0, drawn: "" };
    planes.push(plane);
    listen(plane, planes.length - 1);
  }

  function setWindow(key) {
    const w = page.windows.find((item) => item.key === key);
    if (w) { state.width = w.width; state.level = w.level; }
    showWindow();
  }
  function showWindow() {
    one("#window-width").value = Math.round(state.width);
    one("#window-level").value = Math.round(state.level);
    all(".window").forEach((button) => {
      const w = page.windows.find((item) => item.key === button.dataset.window);
      button.setAttribute("aria-pressed", String(w.width === Math.round(state.width) && w.level === Math.round(state.level)));
    });
    one("#zoom-text").textContent = `${+state.zoom.toFixed(1)}×`;
    all(".toggle").forEach((button) => button.setAttribute("aria-pressed", String(state[button.dataset.toggle])));
  }
  all(".window").forEach((button) => button.addEventListener("click", () => { setWindow(button.dataset.window); redraw(); }));
  all(".toggle").forEach((button) => button.addEventListener("click", () => flip(button.dataset.toggle)));
  all("[data-tab]").forEach((button) => button.addEventListener("click", () => {
    one(".planes").dataset.shown = button.dataset.tab;
    all("[data-tab]").forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
    state.plane = planes.findIndex((plane) => plane.name === button.dataset.tab);
    redraw();
  }));
  for (const [id, name] of [["#window-width", "width"], ["#window-level", "level"]]) {
    one(id).addEventListener("input", (event) => {
      const value = Number(event.target.value);
      if (event.target.value === "" || !Number.isFinite(value) || (name === "width" && value < 1)) return;
      state[name] = value;
      redraw();
    });
    one(id).addEventListener("change", showWindow);
  }
  one("#zoom-in").addEventListener("click", () => magnify(state.zoom * 1.5));
  one("#zoom-out").addEventListener("click", () => magnify(state.zoom / 1.5));
  one("#zoom-reset").addEventListener("click", () => magnify(1));
  function flip(name) { state[name] = !state[name]; showWindow(); redraw(); }
  function magnify(zoom, plane, at) {
    const next = Math.min(Math.max(zoom, 1), 12);
    if (plane && at) { // the voxel under the pointer stays where it is
      const c = center(plane);
      [plane.h, plane.v].forEach((axis, n) => { state.center[axis] = at[n] + (c[n] - at[n]) * (state.zoom / next); });
    } else if (state.zoom === 1) state.center = state.point.map((v) => v + 0.5);
    state.zoom = next < 1.02 ? 1 : next;
    showWindow(); redraw();
  }
  function move(axis, by) {
    state.point[axis] = Math.min(Math.max(state.point[axis] + by, 0), view.shape[axis] - 1);
    readout(); redraw();
  }
  function viewerKey(event) {
    const key = event.key;
    const window_ = page.windows[Number(key) - 1];
    const toggles = { f: "fill", o: "outlines", c: "calipers", x: "cross", s: "smooth" };
    if (window_ && key >= "1") { setWindow(window_.key); redraw(); }
    else if (key === "+" || key === "=") move(planes[state.plane].n, 1);
    else if (key === "-" || key === "_") move(planes[state.plane].n, -1);
    else if (key === "z") magnify(state.zoom >= 8 ? 1 : state.zoom * 2);
    else if (key === "0") magnify(1);
    else if (key === "a") planes[narrow.matches ? state.plane : 0].canvas.focus();
    else if (toggles[key]) flip(toggles[key]);
    else return;
    event.preventDefault();
  }

  /* Pointer, wheel and keys on a plane. */
  function listen(plane, number) {
    const canvas = plane.canvas;
    const fingers = new Map();
    let drag = null, turned = 0, spread = 0;
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("focus", () => { state.plane = number; });
    canvas.addEventListener("pointerdown", (event) => {
      state.plane = number;
      fingers.set(event.pointerId, event);
      try { canvas.setPointerCapture(event.pointerId); } catch { /* a pointer that has already gone */ }
      const kind = event.button === 2 ? "window" : event.button === 1 || event.shiftKey ? "pan" : "point";
      drag = fingers.size > 1 ? null : { kind, x: event.offsetX, y: event.offsetY, moved: false, rest: 0, width: state.width, level: state.level, center: state.center.slice() };
      if (kind === "pan" && state.zoom === 1) drag = null;
    });
    canvas.addEventListener("pointermove", (event) => {
      if (fingers.has(event.pointerId)) fingers.set(event.pointerId, event);
      if (fingers.size === 2) {
        const [a, b] = Array.from(fingers.values());
        const gap = Math.hypot(a.offsetX - b.offsetX, a.offsetY - b.offsetY);
        if (spread) magnify(state.zoom * gap / spread, plane, indexAt(plane, (a.offsetX + b.offsetX) / 2, (a.offsetY + b.offsetY) / 2));
        spread = gap;
        return;
      }
      if (!drag) return;
      const dx = event.offsetX - drag.x, dy = event.offsetY - drag.y;
      if (!drag.moved && Math.hypot(dx, dy) < 5) return;
      drag.moved = true;
      if (drag.kind === "window") {
        state.width = Math.max(1, Math.round(drag.width + dx * 2));
        state.level = Math.round(drag.level - dy * 2);
        showWindow(); redraw();
      } else if (drag.kind === "pan") {
        const scale = scaleOf(plane);
        state.center[plane.h] = drag.center[plane.h] + dx / scale[0];
        state.center[plane.v] = drag.center[plane.v] + dy / scale[1];
        redraw();
      } else {
        const per = Math.min(Math.max(plane.high / view.shape[plane.n], 3), 14);
        const steps = Math.trunc((-dy - drag.rest) / per);
        if (steps) { drag.rest += steps * per; move(plane.n, steps); }
      }
    });
    const end = (event) => {
      fingers.delete(event.pointerId);
      if (fingers.size < 2) spread = 0;
      if (drag && !drag.moved && drag.kind === "point" && event.type === "pointerup") point(plane, event.offsetX, event.offsetY);
      drag = null;
    };
    canvas.addEventListener("pointerup", end);
    canvas.addEventListener("pointercancel", end);
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      state.plane = number;
      const delta = event.deltaMode === 1 ? event.deltaY * 40 : event.deltaMode === 2 ? event.deltaY * 400 : event.deltaY;
      if (event.ctrlKey) { magnify(state.zoom * Math.exp(-delta / 250), plane, indexAt(plane, event.offsetX, event.offsetY)); return; }
      turned += delta;
      const steps = Math.trunc(turned / 50);
      if (steps) { turned = Math.abs(delta) >= 50 ? 0 : turned - steps * 50; move(plane.n, -Math.sign(steps) * (Math.abs(delta) >= 50 ? 1 : Math.abs(steps))); }
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const by = { PageUp: [plane.n, 1], PageDown: [plane.n, -1], ArrowLeft: [plane.h, 1], ArrowRight: [plane.h, -1], ArrowUp: [plane.v, 1], ArrowDown: [plane.v, -1] }[event.key];
      if (event.key === "Home") move(plane.n, view.shape[plane.n]);
      else if (event.key === "End") move(plane.n, -view.shape[plane.n]);
      else if (event.key === "Enter" || event.key === " ") pick();
      else if (by) move(by[0], by[1]);
      else return;
      event.preventDefault();
    });
    plane.slider.addEventListener("input", () => { state.plane = number; move(plane.n, Number(plane.slider.value) - 1 - state.point[plane.n]); });
    new ResizeObserver(() => redraw()).observe(plane.figure);
  }

  /* Grid <-> canvas. Continuous index: voxel i reaches from i to i + 1. */
  function scaleOf(plane) {
    const mm = Math.min(plane.wide / (view.shape[plane.h] * view.spacing[plane.h]), plane.high / (view.shape[plane.v] * view.spacing[plane.v]));
    return [mm * state.zoom * view.spacing[plane.h], mm * state.zoom * view.spacing[plane.v]];
  }
  function center(plane) {
    if (state.zoom === 1) return [view.shape[plane.h] / 2, view.shape[plane.v] / 2];
    const scale = scaleOf(plane);
    return [plane.h, plane.v].map((axis, n) => {
      const half = (n ? plane.high : plane.wide) / scale[n] / 2;
      const size = view.shape[axis];
      return half * 2 >= size ? size / 2 : Math.min(Math.max(state.center[axis], half), size - half);
    });
  }
  const xOf = (plane, index) => plane.wide / 2 + (center(plane)[0] - index) * scaleOf(plane)[0];
  const yOf = (plane, index) => plane.high / 2 + (center(plane)[1] - index) * scaleOf(plane)[1];
  function indexAt(plane, x, y) {
    const scale = scaleOf(plane), c = center(plane);
    return [c[0] - (x - plane.wide / 2) / scale[0], c[1] - (y - plane.high / 2) / scale[1]];
  }

  /* A point in an image: the other planes follow; the regions under it and their sentences are named. */
  function point(plane, x, y) {
    const [a, b] = indexAt(plane, x, y);
    if (a < 0 || b < 0 || a >= view.shape[plane.h] || b >= view.shape[plane.v]) return;
    state.point[plane.h] = Math.floor(a);
    state.point[plane.v] = Math.floor(b);
    pick();
  }
  function pick() {
    const under = regionsAt(state.point);
    state.sentence = null;
    state.regions = under.slice(0, 1);
    state.main = under.length ? under[0] : null;
    state.cited = under.length ? citing[under[0]] : [];
    readout(); mark(); redraw();
    if (!under.length) { say("No region of the report at this point."); return; }
    const count = state.cited.length;
    say(...under.slice(0, 8).map(chip), ` ${count ? `cited by ${count} sentence${count > 1 ? "s" : ""}` : "not cited by a sentence"}`);
    reveal();
  }
  const at = (p) => p[0] + p[1] * st[1] + p[2] * st[2];
  let owners = [];     // label -> regions that hold it, lesions first, then by volume
  function prepareOwners() {
    const rank = (n) => (["lesion", "fluid", "device"].includes(page.regions[n].group) ? 0 : 1);
    page.regions.forEach((region, n) => region.labels.forEach((label) => (owners[label] = owners[label] || []).push(n)));
    owners.forEach((list) => list.sort((a, b) => rank(a) - rank(b) || page.regions[a].ml - page.regions[b].ml));
  }
  function regionsAt(p) {
    if (labels) return (owners[labels[at(p)]] || []).slice();
    return page.regions.map((region, n) => [n, region]).filter(([, r]) => [0, 1, 2].every((x) => p[x] >= r.box[0][x] && p[x] < r.box[1][x]))
      .sort((a, b) => a[1].ml - b[1].ml).map(([n]) => n);
  }
  const minus = (value, digits) => value.toFixed(digits).replace("-", "−");
  function world(p) { return view.affine.slice(0, 3).map((row) => row[0] * p[0] + row[1] * p[1] + row[2] * p[2] + row[3]); }
  function readout() {
    const p = state.point, mm = world(p);
    const place = mm.map((value, n) => `${SIDES[n][value >= 0 ? 0 : 1]} ${Math.abs(value).toFixed(1)}`).join(", ");
    const mean = view.factors.some((f) => f > 1) ? ` (mean of ${view.factors.join("×")} voxels)` : "";
    const value = hu ? `${minus(view.lowest + view.step * hu[at(p)], 0)} HU${mean}` : "";
    const names = labels ? regionsAt(p).map((n) => page.regions[n].name).join(", ") : "";
    const line = one("#point");
    line.textContent = [value, `${place} mm`, names].filter(Boolean).join(" · ");
    line.title = line.textContent;
  }

  /* Drawing. */
  const gray = new Uint32Array(4096);
  let grayFor = "";
  function grayTable() {
    const key = `${state.width}/${state.level}`;
    if (key === grayFor) return;
    grayFor = key;
    const width = Math.max(state.width, 2);
    for (let value = 0; value < 4096; value++) { // DICOM PS3.3 C.11.2.1.2, LINEAR
      const scaled = ((view.lowest + view.step * value - (state.level - 0.5)) / (width - 1) + 0.5) * 255;
      const g = Math.round(Math.min(Math.max(scaled, 0), 255));
      gray[value] = 0xff000000 | g << 16 | g << 8 | g;
    }
  }
  function redraw() {
    if (!view || dirty) return;
    dirty = true;
    requestAnimationFrame(() => { dirty = false; draw(); });
  }
  function draw() {
    if (hu) grayTable();
    const lut = colorTable();
    for (const plane of planes) drawPlane(plane, lut);
    readout();
  }
  // label -> 1 + position in state.regions of the most specific chosen region that holds it
  function colorTable() {
    if (!labels) return null;
    const lut = new Uint16Array(Math.max(owners.length, 1) + 1);
    owners.forEach((list, label) => {
      const top = list.find((n) => state.regions.includes(n));
      if (top !== undefined) lut[label] = state.regions.indexOf(top) + 1;
    });
    return lut;
  }
  function drawPlane(plane, lut) {
    plane.canvas.dataset.slice = state.point[plane.n];
    const box = plane.figure.getBoundingClientRect();
    if (!box.width || !box.height) return;
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(box.width * ratio), height = Math.round(box.height * ratio);
    if (plane.canvas.width !== width || plane.canvas.height !== height) { plane.canvas.width = width; plane.canvas.height = height; }
    plane.wide = box.width;
    plane.high = box.height;
    const context = plane.canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, plane.wide, plane.high);
    const { h, v, n } = plane, slice = state.point[n];
    const nh = view.shape[h], nv = view.shape[v];
    const x0 = xOf(plane, nh), y0 = yOf(plane, nv), [sx, sy] = scaleOf(plane);
    if (hu) {
      const key = `${slice}/${grayFor}`;
      if (plane.drawn !== key) {
        plane.drawn = key;
        const out = new Uint32Array(plane.pixels.data.buffer);
        let q = 0;
        for (let row = nv - 1; row >= 0; row--) {
          let from = slice * st[n] + row * st[v] + (nh - 1) * st[h];
          for (let column = 0; column < nh; column++, from -= st[h]) out[q++] = gray[hu[from]];
        }
        plane.buffer.getContext("2d").putImageData(plane.pixels, 0, 0);
      }
      context.imageSmoothingEnabled = state.smooth;
      context.imageSmoothingQuality = "high";
      context.drawImage(plane.buffer, x0, y0, nh * sx, nv * sy);
    }
    if (labels) drawRegions(plane, context, lut, x0, y0, sx, sy);
    drawBoxes(plane, context);
    if (state.cross) drawCross(plane, context);
    if (state.calipers) drawCalipers(plane, context);
    caption(plane, sx / view.spacing[h]);
  }
  function drawRegions(plane, context, lut, x0, y0, sx, sy) {
    const { h, v, n } = plane, slice = state.point[n], nh = view.shape[h], nv = view.shape[v];
    const chosen = state.regions.map(() => ({ fill: new Path2D(), edge: new Path2D(), any: false }));
    const others = {};
    const value = (row, column) => (row < 0 || column < 0 || row >= nv || column >= nh ? 0
      : labels[slice * st[n] + (nv - 1 - row) * st[v] + (nh - 1 - column) * st[h]]);
    const faint = (label) => state.outlines && label && owners[label] ? page.regions[owners[label][0]].group : "";
    for (let row = 0; row <= nv; row++) {
      let run = 0, from = 0;
      for (let column = 0; column <= nh; column++) {
        const here = value(row, column), c = lut[here] || 0;
        if (c !== run) { // runs of one color make one rectangle
          if (run && row < nv) { chosen[run - 1].fill.rect(x0 + from * sx, y0 + row * sy, (column - from) * sx, sy); chosen[run - 1].any = true; }
          run = c; from = column;
        }
        const left = value(row, column - 1), above = value(row - 1, column);
        if (left !== here) edge(x0 + column * sx, y0 + row * sy, 0, sy, lut[left] || 0, c, faint(left), faint(here));
        if (above !== here) edge(x0 + column * sx, y0 + row * sy, sx, 0, lut[above] || 0, c, faint(above), faint(here));
      }
    }
    function edge(x, y, dx, dy, c1, c2, g1, g2) {
      if (c1 !== c2) {
        for (const c of [c1, c2]) if (c) { chosen[c - 1].edge.moveTo(x, y); chosen[c - 1].edge.lineTo(x + dx, y + dy); }
      } else if (g1 || g2) {
        const path = others[g1 || g2] = others[g1 || g2] || new Path2D();
        path.moveTo(x, y);
        path.lineTo(x + dx, y + dy);
      }
    }
    for (const [group, path] of Object.entries(others)) { context.strokeStyle = rgb(group, 0.75); context.lineWidth = 1; context.stroke(path); }
    chosen.forEach((entry, position) => {
      if (!entry.any) return;
      const number = state.regions[position], region = page.regions[number];
      if (state.fill) { context.fillStyle = rgb(region.group, number === state.main ? 0.2 : 0.13); context.fill(entry.fill); }
      context.lineCap = "square";
      context.strokeStyle = rgb(region.group, 1);
      context.lineWidth = number === state.main ? 2 : 1.25;
      context.setLineDash(region.model ? [5, 4] : []);
      context.stroke(entry.edge);
      context.setLineDash([]);
    });
  }
  function drawBoxes(plane, context) { // a chosen region that is not painted
    for (const n of state.regions) {
      const region = page.regions[n], [lo, hi] = region.box;
      if (labels && region.labels.length) continue;
      const slice = state.point[plane.n];
      if (slice < lo[plane.n] || slice >= hi[plane.n]) continue;
      context.strokeStyle = rgb(region.group, 1);
      context.lineWidth = 1.5;
      context.setLineDash([6, 4]);
      const x = xOf(plane, hi[plane.h]), y = yOf(plane, hi[plane.v]);
      context.strokeRect(x, y, xOf(plane, lo[plane.h]) - x, yOf(plane, lo[plane.v]) - y);
      context.setLineDash([]);
    }
  }
  function drawCross(plane, context) {
    const x = xOf(plane, state.point[plane.h] + 0.5), y = yOf(plane, state.point[plane.v] + 0.5), gap = 12;
    context.strokeStyle = "rgba(140,205,255,.5)";
    context.lineWidth = 1;
    context.beginPath();
    for (const [a, b, c, d] of [[0, y, x - gap, y], [x + gap, y, plane.wide, y], [x, 0, x, y - gap], [x, y + gap, x, plane.high]]) { context.moveTo(a, b); context.lineTo(c, d); }
    context.stroke();
  }
  function drawCalipers(plane, context) {
    const written = []; // boxes of the labels, so that no label hides another
    page.calipers.forEach((line, number) => {
      const slice = state.point[plane.n], chosen = number === state.caliper;
      const [low, high] = [line.a[plane.n], line.b[plane.n]].sort((a, b) => a - b);
      const inside = line.slice !== null ? plane.n === 2 && line.slice === slice
        : Math.round(low) === slice && Math.round(high) === slice;
      // a line through several slices is drawn dashed, as it projects, where it was asked for or is the only one, and
      // before anything was chosen where it lies almost in the plane, such as the heights of vertebrae
      const through = line.slice === null && !inside && slice >= Math.round(low) && slice <= Math.round(high)
        && (chosen || (state.caliper === null && alone(line) && (state.main === line.region || (state.main === null && flat(line, plane)))));
      if (!inside && !through) return;
      const ends = [line.a, line.b].map((p) => [xOf(plane, p[plane.h] + 0.5), yOf(plane, p[plane.v] + 0.5)]);
      const [[x1, y1], [x2, y2]] = ends, length = Math.hypot(x2 - x1, y2 - y1) || 1;
      const tx = (y2 - y1) / length * 4, ty = -(x2 - x1) / length * 4;
      const strong = state.regions.includes(line.region) || !state.regions.length;
      context.beginPath();
      context.moveTo(x1, y1); context.lineTo(x2, y2);
      for (const [x, y] of ends) { context.moveTo(x - tx, y - ty); context.lineTo(x + tx, y + ty); }
      context.lineCap = "round";
      context.strokeStyle = "rgba(0,0,0,.7)";
      context.lineWidth = 3.5;
      context.setLineDash(through ? [5, 5] : []);
      context.stroke();
      context.strokeStyle = chosen ? "#ffe14d" : strong ? "#fff" : "rgba(255,255,255,.5)";
      context.lineWidth = chosen ? 2 : 1.4;
      context.stroke();
      context.setLineDash([]);
      if (!strong || (line.slice === null && !chosen && state.main === null)) return; // no labels: a spine has many
      const [lx, ly] = x2 > x1 ? [x2, y2] : [x1, y1];
      context.font = "600 12px system-ui, sans-serif";
      const wide = context.measureText(line.label).width + 8;
      const x = Math.min(Math.max(lx + 7, 2), plane.wide - wide - 2);
      let y = Math.min(Math.max(ly - 8, 2), plane.high - 18);
      for (const [bx, by, bw] of written) if (x < bx + bw && bx < x + wide && Math.abs(y - by) < 17) y = by + 17;
      written.push([x, y, wide]);
      context.fillStyle = "rgba(0,0,0,.72)";
      context.fillRect(x, y, wide, 16);
      context.fillStyle = "#fff";
      context.textBaseline = "middle";
      context.fillText(line.label, x + 4, y + 8.5);
    });
  }
  function flat(line, plane) {
    const across = [0, 1, 2].map((n) => Math.abs(line.a[n] - line.b[n]) * view.spacing[n]);
    return across[plane.n] <= 0.3 * Math.hypot(...across);
  }
  function alone(line) { return page.calipers.every((other) => other === line || other.region !== line.region || other.slice === null); }
  function caption(plane, pixelsPerMm) {
    const { n } = plane, slice = state.point[n], factor = view.factors[n];
    const first = slice * factor + 1, last = Math.min(first + factor - 1, view.native[n]);
    const number = first === last ? `${first}` : `${first}–${last}`;
    plane.where.textContent = `${number} / ${view.native[n]} · ${minus(world(state.point)[n], 1)} mm`;
    plane.slider.value = slice + 1;
    plane.slider.setAttribute("aria-valuetext", `slice ${number} of ${view.native[n]}`);
    plane.canvas.setAttribute("aria-label", `${plane.name} image, slice ${number} of ${view.native[n]}`);
    const length = [100, 50, 20, 10, 5].find((mm) => mm * pixelsPerMm <= plane.wide / 3.2) || 5;
    one("i", plane.scale).style.width = `${length * pixelsPerMm}px`;
    one("span", plane.scale).textContent = length >= 10 ? `${length / 10} cm` : `${length} mm`;
  }

  /* Unpacking: base64, gzip, then for the CT the differences to the prediction (see radvlm/export/view.py). */
  async function unpack(id) {
    const element = one(id);
    if (!element) return null;
    const text = atob(element.textContent);
    element.remove();
    const bytes = new Uint8Array(text.length);
    for (let n = 0; n < text.length; n++) bytes[n] = text.charCodeAt(n);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }
  function undoDifferences(bytes) {
    const [ni, nj, nk] = view.shape, count = ni * nj * nk, out = new Uint16Array(count);
    if (bytes.length !== 2 * count) throw new Error("image data of the wrong size");
    const row = ni, sheet = ni * nj;
    let p = 0;
    for (let k = 0; k < nk; k++) {
      for (let j = 0; j < nj; j++) {
        for (let i = 0; i < ni; i++, p++) {
          let total = 0;
          if (k) total = 2 * out[p - sheet];
          if (i) total += 2 * out[p - 1] - (k ? out[p - sheet - 1] : 0);
          if (j) total += 2 * out[p - row] - (k ? out[p - sheet - row] : 0);
          const folded = bytes[p] | bytes[p + count] << 8;
          out[p] = (total >> 2) + (folded & 1 ? -((folded + 1) >> 1) : folded >> 1);
        }
      }
    }
    return out;
  }
  async function start() {
    const loading = one("#loading");
    try {
      if (typeof DecompressionStream === "undefined") {
        throw new Error("This browser cannot unpack the images (it lacks DecompressionStream). Chromium 80, Firefox 113 or Safari 16.4 and later can. The key images in the report are shown.");
      }
      const [packedHu, packedLabels] = await Promise.all([unpack("#hu-data"), unpack("#label-data")]);
      if (packedLabels) {
        const count = view.shape[0] * view.shape[1] * view.shape[2];
        if (packedLabels.length !== count * view.labelBytes) throw new Error("label data of the wrong size");
        labels = packedLabels;
        if (view.labelBytes === 2) labels = Uint16Array.from({ length: count }, (_, n) => packedLabels[n] | packedLabels[n + count] << 8);
        prepareOwners();
      }
      if (packedHu) hu = undoDifferences(packedHu);
      loading.hidden = true;
      draw();
      openHash();
      return true;
    } catch (problem) {
      loading.textContent = problem.message;
      loading.setAttribute("role", "alert");
      return false;
    }
  }
  function openHash() {
    const match = /^#s(\d+)$/.exec(location.hash);
    if (match && page.sentences[Number(match[1])]) choose(Number(match[1]));
  }
  const ready = start();
  window.radvlmPage = Object.freeze({
    ready,
    state: () => keep(),
    // canvas position (CSS pixels) of the middle of voxel [i, j, k] of the embedded copy
    locate: (name, index) => {
      const plane = planes.find((item) => item.name === name);
      return { x: xOf(plane, index[plane.h] + 0.5), y: yOf(plane, index[plane.v] + 0.5) };
    },
    value: (index) => (hu ? view.lowest + view.step * hu[at(index)] : null),
  });
})();
