"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const list = find("list");
  const SVG = "http://www.w3.org/2000/svg";
  const LAST = Number(find("time").max);
  const STRIP = 8;
  const rows = [...list.children].map((element, order) => ({
    element,
    order,
    scores: JSON.parse(element.dataset.scores),
    made: null,
  }));
  const byElement = new Map(rows.map((row) => [row.element, row]));
  const state = { position: 0, playing: false, speed: 1 / 4, magnify: 1, difference: false };
  const visible = new Set();

  // --- data of a row ------------------------------------------------------------------------------------------------

  const bytes = (text) => {
    const raw = atob(text);
    const array = new Int8Array(raw.length);
    for (let i = 0; i < raw.length; i++) array[i] = (raw.charCodeAt(i) << 24) >> 24;
    return array;
  };

  const picture = (text) => new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error("a picture of this page cannot be decoded"));
    image.src = `data:image/webp;base64,${text}`;
  });

  const clip = async (data) => {
    const image = await picture(data.frames);
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    const frames = Array.from({ length: data.count }, (_, i) => context.getImageData(i * data.width, 0, data.width, data.height));
    return { ...data, image, pictures: frames, motion: bytes(data.flow) };
  };

  const load = async (row) => {
    if (row.loading) return row.loading;
    row.loading = (async () => {
      const data = JSON.parse(row.element.querySelector(".player").textContent);
      const pair = JSON.parse(find(`p${row.element.dataset.pair}`).textContent);
      const [driving, made, source] = await Promise.all([clip(pair), clip(data), picture(pair.source)]);
      row.data = { driving, made, data, pair };
      const still = row.element.querySelector(".still");
      [still.width, still.height] = [source.naturalWidth, source.naturalHeight];
      still.getContext("2d").drawImage(source, 0, 0);
      if (!row.drawn) {
        drawStrip(row);
        drawCharts(row);
        row.drawn = true;
      }
      show(row);
    })();
    return row.loading;
  };

  const unload = (row) => {
    row.loading = null;
    row.data = null;
  };

  // --- frames -------------------------------------------------------------------------------------------------------

  // Displacement at a pixel, bilinear between the cells of the coarse flow.
  const warp = (clip, number, factor) => {
    const { width, height, cells, motion, unit } = clip;
    const source = clip.pictures[number].data;
    const out = new ImageData(width, height);
    const base = number * cells * cells * 2;
    const scale = unit * (factor - 1);
    for (let y = 0; y < height; y++) {
      const gy = Math.min(Math.max((y + 0.5) * cells / height - 0.5, 0), cells - 1);
      const y0 = Math.min(Math.floor(gy), cells - 2);
      const fy = gy - y0;
      for (let x = 0; x < width; x++) {
        const gx = Math.min(Math.max((x + 0.5) * cells / width - 0.5, 0), cells - 1);
        const x0 = Math.min(Math.floor(gx), cells - 2);
        const fx = gx - x0;
        const at = base + (y0 * cells + x0) * 2;
        const below = at + cells * 2;
        const mix = (c) => (motion[at + c] * (1 - fx) + motion[at + 2 + c] * fx) * (1 - fy)
          + (motion[below + c] * (1 - fx) + motion[below + 2 + c] * fx) * fy;
        const sx = Math.min(Math.max(x - scale * mix(0), 0), width - 1.001);
        const sy = Math.min(Math.max(y - scale * mix(1), 0), height - 1.001);
        const px = Math.floor(sx), py = Math.floor(sy);
        const qx = sx - px, qy = sy - py;
        const from = (py * width + px) * 4, next = from + width * 4;
        const to = (y * width + x) * 4;
        for (let c = 0; c < 3; c++) {
          out.data[to + c] = (source[from + c] * (1 - qx) + source[from + 4 + c] * qx) * (1 - qy)
            + (source[next + c] * (1 - qx) + source[next + 4 + c] * qx) * qy;
        }
        out.data[to + 3] = 255;
      }
    }
    return out;
  };

  const difference = (frame, first) => {
    const out = new ImageData(frame.width, frame.height);
    for (let i = 0; i < out.data.length; i += 4) {
      for (let c = 0; c < 3; c++) out.data[i + c] = 128 + 5 * (frame.data[i + c] - first.data[i + c]);
      out.data[i + 3] = 255;
    }
    return out;
  };

  const paint = (canvas, clip) => {
    const number = Math.round(state.position / LAST * (clip.count - 1));
    let frame = state.magnify > 1 ? warp(clip, number, state.magnify) : clip.pictures[number];
    if (state.difference) frame = difference(frame, clip.pictures[0]);
    if (canvas.width !== clip.width || canvas.height !== clip.height) [canvas.width, canvas.height] = [clip.width, clip.height];
    canvas.getContext("2d", { willReadFrequently: true }).putImageData(frame, 0, 0);
    canvas.dataset.frame = number;
    canvas.dataset.position = Math.round(state.position);
  };

  const show = (row) => {
    if (!row.data) return;
    paint(row.element.querySelector(".driving"), row.data.driving);
    paint(row.element.querySelector(".made"), row.data.made);
    const share = Math.round(state.position) / LAST;
    row.element.querySelector(".cursor").style.left = `${100 * share}%`;
    for (const line of row.element.querySelectorAll(".time")) {
      line.setAttribute("x1", 100 * share);
      line.setAttribute("x2", 100 * share);
    }
  };

  const showAll = () => {
    find("time").value = Math.round(state.position);
    find("at").textContent = Math.round(state.position) + 1;
    for (const row of visible) show(row);
  };

  // --- drawings -----------------------------------------------------------------------------------------------------

  const drawStrip = (row) => {
    const { driving, made } = row.data;
    const side = 72;
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [STRIP * side, 2 * side];
    const context = canvas.getContext("2d");
    [driving, made].forEach((clip, line) => {
      for (let i = 0; i < STRIP; i++) {
        const number = Math.round(i / (STRIP - 1) * (clip.count - 1));
        context.drawImage(clip.image, number * clip.width, 0, clip.width, clip.height, i * side, line * side, side, side);
      }
    });
    const cursor = document.createElement("div");
    cursor.className = "cursor";
    const strip = row.element.querySelector(".strip");
    strip.replaceChildren(canvas, cursor);
    strip.classList.add("drawn");
    strip.addEventListener("click", (event) => {
      const box = strip.getBoundingClientRect();
      seek((event.clientX - box.left) / box.width * LAST);
    });
  };

  const shape = (name, attributes) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };

  const chart = (title, driving, made, timing, length, unit) => {
    const values = [...driving, ...made, 0];
    const low = Math.min(...values), high = Math.max(...values);
    const span = high - low || 1;
    const points = (curve) => curve.map((v, i) => `${(i / Math.max(curve.length - 1, 1) * 100).toFixed(2)},${(50 * (high - v) / span).toFixed(2)}`).join(" ");
    const peak = (curve) => curve.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a), 0).toFixed(1);
    const drawing = shape("svg", { viewBox: "-1 -2 102 54", preserveAspectRatio: "none", role: "img",
      "aria-label": `${title}: driving clip up to ${peak(driving)}, result up to ${peak(made)} ${unit}` });
    drawing.append(shape("path", { class: "axis", d: `M0,${50 * high / span}H100` }));
    timing.forEach((times, who) => times.forEach((t, i) => {
      if (t === null) return;
      const x = t / Math.max(length - 1, 1) * 100;
      drawing.append(shape("line", { class: `${["onset", "apex", "offset"][i]} of-${who ? "made" : "driving"}`,
        x1: x, x2: x, y1: who ? 25 : 0, y2: who ? 50 : 25 }));
    }));
    drawing.append(shape("polyline", { class: "driving", points: points(driving) }));
    drawing.append(shape("polyline", { class: "made", points: points(made) }));
    drawing.append(shape("line", { class: "time", x1: 0, x2: 0, y1: 0, y2: 50 }));
    const figure = document.createElement("figure");
    figure.className = "chart";
    const caption = document.createElement("figcaption");
    const name = document.createElement("span"), peaks = document.createElement("span");
    name.textContent = title;
    peaks.textContent = `${peak(driving)} / ${peak(made)}`;
    caption.append(name, peaks);
    figure.append(drawing, caption);
    return figure;
  };

  const drawCharts = (row) => {
    const { data, pair } = row.data;
    const place = row.element.querySelector(".charts");
    const legend = document.createElement("p");
    legend.className = "legend";
    const [of, result] = [document.createElement("b"), document.createElement("i")];
    of.textContent = "driving";
    result.textContent = "result";
    legend.append(of, " and ", result, ": motion of regions in % of the eye distance, action units 0 to 5; vertical lines: onset, apex, offset");
    place.replaceChildren(
      legend,
      ...data.regions.map((r) => chart(r.name, r.driving, r.result, [], pair.length, "%")),
      ...data.units.map((u) => chart(u.name, u.driving, u.result, data.timing, pair.length, "of 5")),
    );
  };

  // --- time ---------------------------------------------------------------------------------------------------------

  const seek = (position) => {
    state.position = Math.min(Math.max(Math.round(position), 0), LAST);
    showAll();
  };

  const SECONDS = 1.2; // of a clip at full speed; all clips take the same time, so that they stay in step
  let before = 0;
  const tick = (now) => {
    if (!state.playing) return;
    const shown = Math.round(state.position);
    state.position += (now - before) / 1000 / SECONDS * state.speed * LAST;
    before = now;
    if (state.position > LAST + 0.5) state.position = 0;
    if (Math.round(state.position) !== shown) showAll();
    requestAnimationFrame(tick);
  };

  const play = (playing) => {
    state.playing = playing;
    find("play").textContent = playing ? "Pause" : "Play";
    find("play").setAttribute("aria-pressed", String(playing));
    if (playing) {
      before = performance.now();
      requestAnimationFrame(tick);
    }
  };

  const setSpeed = (power) => {
    const value = Math.min(Math.max(power, -4), 0);
    find("speed").value = value;
    state.speed = 2 ** value;
    find("speed-text").textContent = value ? `1/${2 ** -value}` : "1";
  };

  const setMagnify = (factor) => {
    state.magnify = factor;
    find("magnify").value = String(factor);
    showAll();
  };

  const setDifference = (on) => {
    state.difference = on;
    find("difference").checked = on;
    showAll();
  };

  // --- list ---------------------------------------------------------------------------------------------------------

  const filters = [...document.querySelectorAll(".filter")];
  const filter = () => {
    let shown = 0;
    for (const row of rows) {
      const { dataset } = row.element;
      const matches = filters.every(({ value, dataset: { key } }) => value === ""
        || (key === "au" ? dataset.au.split(" ").includes(value) : dataset[key] === value));
      row.element.hidden = !matches;
      shown += matches;
    }
    find("count").textContent = `${shown} of ${rows.length} clips`;
    find("nothing").hidden = shown > 0;
  };

  const HIGHER = /corr|identity|asymmetry/;
  const NEAR_ONE = /sharpness|gain/;
  const badness = (row) => {
    const key = find("sort").value;
    const value = row.scores[key] === undefined ? NaN : Number(row.scores[key]);
    if (Number.isNaN(value)) return Infinity;
    if (HIGHER.test(key)) return -value;
    return NEAR_ONE.test(key) ? Math.abs(value - 1) : value;
  };

  const sort = () => {
    const keyed = new Map(rows.map((row) => [row, badness(row)]));
    rows.sort((a, b) => (keyed.get(a) === keyed.get(b) ? a.order - b.order : keyed.get(b) - keyed.get(a)));
    list.append(...rows.map((row) => row.element));
  };

  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const row = byElement.get(target);
      if (isIntersecting) {
        visible.add(row);
        load(row);
      } else {
        visible.delete(row);
        unload(row);
      }
    }
  }, { rootMargin: "200px" });

  find("play").addEventListener("click", () => play(!state.playing));
  find("time").addEventListener("input", (event) => { play(false); seek(Number(event.target.value)); });
  find("speed").addEventListener("input", (event) => setSpeed(Number(event.target.value)));
  find("magnify").addEventListener("change", (event) => setMagnify(Number(event.target.value)));
  find("difference").addEventListener("change", (event) => setDifference(event.target.checked));
  find("sort").addEventListener("change", sort);
  find("controls").addEventListener("submit", (event) => event.preventDefault());
  for (const select of filters) select.addEventListener("change", filter);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, summary")) return;
    const step = (by) => { play(false); seek(Math.round(state.position) + by); };
    const actions = {
      " ": () => { if (event.target.id !== "play") play(!state.playing); else return true; },
      ArrowLeft: () => step(-1),
      ArrowRight: () => step(1),
      "[": () => setSpeed(Math.log2(state.speed) - 1),
      "]": () => setSpeed(Math.log2(state.speed) + 1),
      1: () => setMagnify(1),
      5: () => setMagnify(5),
      0: () => setMagnify(10),
      d: () => setDifference(!state.difference),
    };
    const action = actions[event.key];
    if (action && !action()) event.preventDefault();
  });
  find("controls").hidden = false;
  setSpeed(-2);
  sort();
  filter();
  for (const row of rows) watcher.observe(row.element);
})();
