// One frame, drawn: the picture and its vector layers on a canvas, axes and colour bar in an SVG over it.
const LINES = ["#3987d9", "#e08a00", "#1f9e77", "#c7599b"];
const MINUS = "\u2212";

const esc = (s) => String(s).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);

/** Some `n` round numbers between a and b, with their step. */
function ticks(a, b, n) {
  const raw = (b - a) / n, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((m) => m * power >= raw * 0.999) * power, found = [];
  for (let i = Math.ceil(a / step - 1e-9); i * step <= b + step * 1e-9; i++) found.push(i * step);
  return { found, step };
}

/** Powers of ten, with 2 and 5 between where there is room; round numbers where there is not one decade. */
function logTicks(a, b) {
  const found = [], decades = Math.log10(b / a), marks = decades < 3 ? [1, 2, 5] : [1];
  for (let e = Math.floor(Math.log10(a)); e <= Math.ceil(Math.log10(b)); e++)
    for (const m of marks) if (m * 10 ** e >= a * 0.999 && m * 10 ** e <= b * 1.001) found.push(m * 10 ** e);
  return decades > 1 ? found : ticks(a, b, 6).found.filter((t) => t > 0);
}

const SUPER = "⁰¹²³⁴⁵⁶⁷⁸⁹";
function power(v, digits) {
  const [m, e] = v.toExponential(digits).split("e");
  const up = [...String(Math.abs(+e))].map((d) => SUPER[d]).join("");
  return `${m.includes(".") ? m.replace(/\.?0+$/, "") : m}×10${+e < 0 ? "⁻" : ""}${up}`;
}

/** A number with as many decimals as a step asks for. */
function format(v, step) {
  if (v === 0) return "0";
  const big = Math.abs(v) >= 1e6 || (Math.abs(v) < 1e-3 && step < 1e-3);
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const text = big ? power(v, Math.max(0, Math.min(6, Math.round(Math.log10(Math.abs(v) / step))))) : v.toFixed(decimals);
  return text.replace("-", MINUS);
}

const short = (v) => (v === 0 ? "0" : Math.abs(v) >= 1e6 || Math.abs(v) < 1e-3 ? power(v, 3) : String(+v.toPrecision(4))).replace("-", MINUS);

function render({ model, el }) {
  const id = `cv-bar-${Math.random().toString(36).slice(2)}`; // each widget has a module, and so a counter, of its own
  const box = document.createElement("div"), canvas = document.createElement("canvas"), hover = document.createElement("div");
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const picture = document.createElement("canvas"), pen = canvas.getContext("2d"), colour = new Uint32Array(65536);
  el.classList.add("cv-view");
  box.className = "cv-box";
  hover.className = "cv-hover";
  canvas.className = model.get("name");
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  canvas.setAttribute("data-lm-suppress-shortcuts", "true"); // or "0 0" would restart the kernel
  svg.setAttribute("aria-hidden", "true");
  box.append(canvas, svg);
  el.append(box, hover);

  let frame = {}, codes = null, layers = [], lut = null, range = null, timer = 0, drag = null, armed = false;
  let W = 0, H = 0, L = 0, T = 0; // size and place of the plot in CSS pixels

  const copy = (view) => view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
  const rgb = (i) => `rgb(${lut[3 * i]},${lut[3 * i + 1]},${lut[3 * i + 2]})`;

  function decode() {
    frame = model.get("frame") || {};
    if (!frame.range) { layout(); return; }
    codes = frame.codes ? new Uint16Array(copy(frame.codes)) : null;
    layers = frame.layers.map((k) => ({ ...k, xy: new Float32Array(copy(k.xy)) }));
    if (codes) paint();
    if (!timer && !drag) range = view();
    layout();
    const sees = codes ? `${frame.z.label} against ` : "Plot of ";
    canvas.setAttribute("aria-label", `${frame.title ? frame.title + ": " : ""}${sees}${frame.y.label} and ${frame.x.label}. ` +
      "Arrow keys pan, plus and minus zoom, 0 shows everything.");
    for (const [k, v] of Object.entries(frame.data)) canvas.dataset[k] = v;
    model.send({ drawn: frame.data.seq });
  }

  const view = () => (model.get("range").length === 4 ? [...model.get("range")] : [...frame.home]);

  function paint() {
    const bytes = new Uint8Array(copy(frame.lut));
    if (!lut || bytes.some((v, i) => v !== lut[i])) {
      lut = bytes;
      for (let c = 1; c < 65536; c++) {
        const i = 3 * (c >> 8);
        colour[c] = (255 << 24) | (lut[i + 2] << 16) | (lut[i + 1] << 8) | lut[i];
      }
    }
    const { w, h } = frame, g = picture.getContext("2d");
    if (picture.width !== w || picture.height !== h) { picture.width = w; picture.height = h; }
    const data = g.createImageData(w, h), p = new Uint32Array(data.data.buffer);
    for (let row = 0; row < h; row++) // the frame's first row is the lowest
      for (let c = 0, from = (h - 1 - row) * w, to = row * w; c < w; c++) p[to + c] = colour[codes[from + c]];
    g.putImageData(data, 0, 0);
  }

  /** Place the plot and draw all of it. */
  function layout() {
    const side = model.get("width"), tall = model.get("height"), raster = Boolean(frame.codes);
    L = 62;
    T = frame.title || !raster ? 26 : 10;
    W = side;
    H = tall;
    if (frame.equal) {
      const [a, b, c, d] = frame.home, scale = Math.min(side / (b - a), side / (d - c));
      W = Math.max(80, Math.round((b - a) * scale));
      H = Math.max(80, Math.round((d - c) * scale));
    }
    box.style.width = `${L + W + (raster || !frame.range ? 98 : 16)}px`;
    box.style.height = `${T + H + 44}px`;
    hover.style.marginLeft = canvas.style.left = `${L}px`;
    canvas.style.top = `${T}px`;
    canvas.style.width = `${W}px`;
    canvas.style.height = `${H}px`;
    hover.style.display = frame.range && !raster ? "none" : "";
    draw();
  }

  function draw() {
    const dpr = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(W * dpr)) canvas.width = Math.round(W * dpr);
    if (canvas.height !== Math.round(H * dpr)) canvas.height = Math.round(H * dpr);
    pen.setTransform(dpr, 0, 0, dpr, 0, 0);
    pen.clearRect(0, 0, W, H);
    axes();
    if (!frame.range) return;
    const [x0, x1, y0, y1] = range, kx = W / (x1 - x0), ky = H / (y1 - y0), r = frame.range;
    if (codes) {
      const wide = (r[1] - r[0]) * kx, high = (r[3] - r[2]) * ky;
      // a fine grid is a smooth field; counts and coarse cells are to be seen as such
      pen.imageSmoothingEnabled = frame.smooth && frame.w >= 48;
      pen.drawImage(picture, (r[0] - x0) * kx, (y1 - r[3]) * ky, wide, high);
    }
    layers.forEach((layer, i) => vectors(layer, i, (v) => (v - x0) * kx, (v) => (y1 - v) * ky, kx, ky));
  }

  /** One vector layer: with a rim in the opposite shade over a picture, coloured without one. */
  function vectors(layer, i, X, Y, kx, ky) {
    const { kind, xy } = layer, path = new Path2D(), [ink, rim] = frame.ink || [LINES[i % LINES.length], ""];
    if (kind === "text") {
      pen.font = "13px sans-serif";
      pen.textBaseline = "middle";
      [pen.lineWidth, pen.lineJoin, pen.strokeStyle, pen.fillStyle] = [3, "round", rim, ink];
      if (codes) pen.strokeText(layer.text, X(xy[0]) + 9, Y(xy[1]));
      else pen.fillStyle = getComputedStyle(el).color;
      pen.fillText(layer.text, X(xy[0]) + 9, Y(xy[1]));
      return;
    }
    if (kind === "arrows")
      for (let k = 0; k < xy.length; k += 4) {
        const x = X(xy[k]), y = Y(xy[k + 1]), dx = xy[k + 2] * kx, dy = -xy[k + 3] * ky, n = Math.hypot(dx, dy);
        if (!(n > 3)) continue;
        const s = Math.min(6, n * 0.45) / n;
        path.moveTo(x, y);
        path.lineTo(x + dx, y + dy);
        path.moveTo(x + dx - s * (dx - 0.6 * dy), y + dy - s * (dy + 0.6 * dx));
        path.lineTo(x + dx, y + dy);
        path.lineTo(x + dx - s * (dx + 0.6 * dy), y + dy - s * (dy - 0.6 * dx));
      }
    else if (kind === "points")
      for (let k = 0; k < xy.length; k += 2) {
        const x = X(xy[k]), y = Y(xy[k + 1]), size = xy.length > 40 ? 2 : 4;
        path.moveTo(x + size, y);
        path.arc(x, y, size, 0, 7);
      }
    else
      for (let k = 0, down = false; k < xy.length; k += 2) {
        if (xy[k] !== xy[k] || xy[k + 1] !== xy[k + 1]) down = false;
        else { path[down ? "lineTo" : "moveTo"](X(xy[k]), Y(xy[k + 1])); down = true; }
      }
    pen.lineJoin = pen.lineCap = "round";
    if (codes) { [pen.lineWidth, pen.strokeStyle, pen.globalAlpha] = [3.2, rim, 0.6]; pen.stroke(path); pen.globalAlpha = 1; }
    [pen.lineWidth, pen.strokeStyle, pen.fillStyle] = [codes ? 1.3 : 1.8, ink, ink];
    kind === "points" ? pen.fill(path) : pen.stroke(path);
  }

  let last = "";
  function axes() {
    const key = JSON.stringify([range, W, H, T, frame.x, frame.y, frame.z, frame.low, frame.high, frame.log, frame.title,
      layers.map((k) => k.label), frame.range ? 0 : model.get("message"), lut && lut.slice(0, 9)]);
    if (key === last) return;
    last = key;
    const out = [`<rect class="cv-frame" x="${L}" y="${T}" width="${W}" height="${H}"/>`];
    const text = (x, y, s, more) => out.push(`<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${more}>${esc(s)}</text>`);
    const line = (x1, y1, x2, y2, cls = "cv-frame") => out.push(`<line class="${cls}" x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}"/>`);
    const middle = 'text-anchor="middle"', right = 'text-anchor="end"', label = 'class="cv-label"';
    if (!frame.range) {
      // words wrap in HTML only
      out.push(`<foreignObject x="${L + 20}" y="${T + H / 2 - 40}" width="${W - 40}" height="120"><div style="text-align:center;font-size:13px">${esc(model.get("message"))}</div></foreignObject>`);
      svg.innerHTML = out.join("");
      return;
    }
    const [x0, x1, y0, y1] = range, plain = !frame.codes;
    const tx = ticks(x0, x1, Math.max(3, W / 80)), ty = ticks(y0, y1, Math.max(3, H / 50));
    for (const t of tx.found) {
      const x = Math.round(L + ((t - x0) / (x1 - x0)) * W);
      if (plain) line(x, T, x, T + H, "cv-grid");
      line(x, T + H, x, T + H + 4);
      text(x, T + H + 17, format(t, tx.step), middle);
    }
    for (const t of ty.found) {
      const y = Math.round(T + (1 - (t - y0) / (y1 - y0)) * H);
      if (plain) line(L, y, L + W, y, "cv-grid");
      line(L - 4, y, L, y);
      text(L - 7, y + 4, format(t, ty.step), right);
    }
    text(L + W / 2, T + H + 36, frame.x.label, `${middle} ${label}`);
    text(0, 0, frame.y.label, `${middle} ${label} transform="translate(13 ${T + H / 2}) rotate(-90)"`);
    text(L, T - 9, frame.title, label);
    if (plain) legend(text, out);
    else bar(text, line, out, label);
    svg.innerHTML = out.join("");
  }

  function legend(text, out) {
    layers.map((k, i) => [k.label, i]).filter((k) => k[0]).forEach(([name, i], row) => {
      const y = T + 16 + 17 * row;
      text(L + W - 30, y, name, 'text-anchor="end"');
      out.push(`<line x1="${L + W - 25}" y1="${y - 4}" x2="${L + W - 7}" y2="${y - 4}" stroke="${LINES[i % LINES.length]}" stroke-width="2.5"/>`);
    });
  }

  function bar(text, line, out, label) {
    const x = L + W + 14, { low, high, log } = frame;
    const stops = Array.from({ length: 33 }, (_, i) => `<stop offset="${i / 32}" stop-color="${rgb(Math.round((i * 255) / 32))}"/>`);
    out.push(`<linearGradient id="${id}" x1="0" y1="1" x2="0" y2="0">${stops.join("")}</linearGradient>`,
      `<rect class="cv-frame" x="${x}" y="${T}" width="14" height="${H}" style="fill:url(#${id})"/>`);
    const t = log ? { found: logTicks(low, high), step: 0 } : ticks(low, high, Math.max(3, H / 55));
    for (const v of t.found) {
      const share = log ? Math.log(v / low) / Math.log(high / low) : (v - low) / (high - low);
      const y = Math.round(T + H * (1 - share));
      line(x + 14, y, x + 18, y);
      text(x + 21, y + 4, log ? short(v) : format(v, t.step), "");
    }
    text(0, 0, frame.z.label, `text-anchor="middle" ${label} transform="translate(${x + 80} ${T + H / 2}) rotate(-90)"`);
  }

  // ---- hand and keys -------------------------------------------------------------------------------------------

  /** Show `range` at once by stretching the old frame; ask for a new one at most every 80 ms. */
  function push(home = false) {
    draw();
    if (home) { clearTimeout(timer); timer = 0; send([]); }
    else if (!timer) timer = setTimeout(() => { timer = 0; send([...range]); }, 80);
  }
  const send = (r) => { model.set("range", r); model.save_changes(); };
  const home = () => { range = [...frame.home]; push(true); };
  function zoom(k, u = 0.5, v = 0.5) {
    const [x0, x1, y0, y1] = range, x = x0 + u * (x1 - x0), y = y0 + v * (y1 - y0), h = frame.home;
    const size = (k * (x1 - x0)) / (h[1] - h[0]);
    if (size < 1e-4 || size > 50) return;
    range = [x + (x0 - x) * k, x + (x1 - x) * k, y + (y0 - y) * k, y + (y1 - y) * k];
    push();
  }
  function pan(dx, dy, [x0, x1, y0, y1] = range) {
    const x = dx * (x1 - x0), y = dy * (y1 - y0);
    range = [x0 + x, x1 + x, y0 + y, y1 + y];
    push();
  }
  const at = (e) => { const q = canvas.getBoundingClientRect(); return [(e.clientX - q.left) / W, 1 - (e.clientY - q.top) / H]; };

  function read(e) {
    if (!frame.range) return;
    const [u, v] = at(e), x = range[0] + u * (range[1] - range[0]), y = range[2] + v * (range[3] - range[2]);
    const say = (a, n, mark = "= ") => `${a.name} ${mark}${n}${a.unit ? " " + a.unit : ""}`;
    const parts = [say(frame.x, short(x)), say(frame.y, short(y))];
    if (codes) {
      const r = frame.range, { w, h, low, high, log } = frame;
      const c = Math.floor(((x - r[0]) / (r[1] - r[0])) * w), q = Math.floor(((y - r[2]) / (r[3] - r[2])) * h);
      const code = c >= 0 && c < w && q >= 0 && q < h ? codes[q * w + c] : 0, t = (code - 1) / 65534;
      const mark = code === 65535 ? "≥ " : code === 1 ? "≤ " : "= ";
      parts.push(code ? say(frame.z, short(log ? low * (high / low) ** t : low + t * (high - low)), mark) : "no value");
    }
    hover.textContent = parts.join(",  ");
  }

  const on = (type, f, options) => canvas.addEventListener(type, (e) => frame.range && f(e), options);
  on("wheel", (e) => {
    if (!armed) return; // a page scrolled over a plot goes on scrolling
    e.preventDefault();
    zoom(Math.exp(Math.max(-200, Math.min(200, e.deltaY * (e.deltaMode ? 30 : 1))) * 0.002), ...at(e));
  }, { passive: false });
  on("pointerdown", (e) => { drag = { at: at(e), range: [...range] }; canvas.setPointerCapture(e.pointerId); });
  on("pointerup", () => { drag = null; });
  on("pointercancel", () => { drag = null; });
  on("pointerleave", () => { armed = false; hover.textContent = "\u00a0"; });
  on("dblclick", home);
  on("pointermove", (e) => {
    armed = armed || e.movementX !== 0 || e.movementY !== 0;
    if (drag) { const [u, v] = at(e); pan(drag.at[0] - u, drag.at[1] - v, drag.range); }
    read(e);
  });
  const KEYS = {
    ArrowLeft: () => pan(-0.1, 0), ArrowRight: () => pan(0.1, 0), ArrowUp: () => pan(0, 0.1), ArrowDown: () => pan(0, -0.1),
    "+": () => zoom(0.8), "=": () => zoom(0.8), "-": () => zoom(1.25), 0: home,
  };
  on("keydown", (e) => {
    if (!KEYS[e.key] || e.ctrlKey || e.metaKey || e.altKey) return;
    e.preventDefault();
    e.stopPropagation();
    KEYS[e.key]();
  });

  hover.textContent = "\u00a0";
  const moved = () => { if (frame.range && !timer && !drag) { range = view(); draw(); } };
  const resized = () => { if (range) draw(); };
  model.on("change:frame", decode);
  model.on("change:range", moved);
  model.on("change:message", layout);
  window.addEventListener("resize", resized);
  decode();
  return () => {
    model.off("change:frame", decode);
    model.off("change:range", moved);
    model.off("change:message", layout);
    window.removeEventListener("resize", resized);
  };
}

export default { render };
