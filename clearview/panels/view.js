// One frame, drawn: the picture and its vector layers on a canvas, axes and colour bar in an SVG over it.
const MINUS = "\u2212";
const SUPER = "⁰¹²³⁴⁵⁶⁷⁸⁹";

const esc = (s) => String(s).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
const exponent = (v) => Math.floor(Math.log10(Math.abs(v)) + 1e-9);

/** At most `n` round numbers between a and b, but at least two, with their step. */
function ticks(a, b, n) {
  for (; ; n *= 1.5) {
    const raw = (b - a) / n, power = 10 ** Math.floor(Math.log10(raw)), found = [];
    const step = [1, 2, 5, 10].find((m) => m * power >= raw * 0.999) * power;
    for (let i = Math.ceil(a / step - 1e-9); i * step <= b + step * 1e-9; i++) found.push(i * step);
    if (found.length > 1 || n > 1000) return { found, step };
  }
}

function power(v, digits) {
  const [m, e] = v.toExponential(digits).split("e"), up = [...String(Math.abs(+e))].map((d) => SUPER[d]).join("");
  const front = m.includes(".") ? m.replace(/\.?0+$/, "") : m;
  return `${Math.abs(front) === 1 ? front.replace("1", "") : front + "×"}10${+e < 0 ? "⁻" : ""}${up}`;
}

/** Marks of a logarithmic axis from 10**a to 10**b, as exponents with words: 1, 2 and 5 times powers of ten where there is room. */
function powers(a, b, n) {
  for (const [marks, stride] of [[[1, 2, 5], 1], [[1, 3], 1], ...[1, 2, 3, 5, 10, 20, 50, 100].map((k) => [[1], k])]) {
    const found = [];
    for (let e = Math.floor(a); e <= b; e++) if (e % stride === 0) found.push(...marks.map((m) => [Math.log10(m) + e, m * 10 ** e]));
    const within = found.filter(([t]) => t >= a - 1e-6 && t <= b + 1e-6);
    if (within.length < 2) break;
    if (within.length <= n) return within.map(([t, v]) => [t, write({ found: [v], step: v })[0][1]]);
  }
  return write(ticks(10 ** a, 10 ** b, n)).filter(([v]) => v > 0).map(([v, words]) => [Math.log10(v), words]);
}

/** Numbers that are written in the same way, with as many digits as their step asks for. */
function write({ found, step }) {
  const most = Math.max(...found.map(Math.abs)), few = exponent(most) - exponent(step) < 4;
  const big = most < 1e-3 || (most >= 1e6 && (few || most >= 1e12));
  const apart = (s) => (most < 1e4 ? s : s.replace(/\d+/, (d) => d.replace(/\B(?=(\d{3})+$)/g, ",")));
  const plain = (v) => apart(v.toFixed(Math.max(0, -exponent(step))));
  const text = (v) => (big ? power(v, Math.max(0, exponent(v) - exponent(step))) : plain(v));
  return found.map((v) => [v, Math.abs(v) < step * 1e-6 ? "0" : text(v).replace("-", MINUS)]);
}

const short = (v) => (v === 0 ? "0" : Math.abs(v) >= 1e6 || Math.abs(v) < 1e-3 ? power(v, 3) : String(+v.toPrecision(4))).replace("-", MINUS);

/** Whether a layer stands in the legend. */
const named = (k) => k.label && ["path", "curve", "points", "band"].includes(k.kind);

const TOOLS = { // words, and a drawing 16 by 16
  pan: ["Pan (arrow keys)", "M8 1v14M1 8h14M6 3l2-2 2 2M6 13l2 2 2-2M3 6L1 8l2 2M13 6l2 2-2 2"],
  box: ["Select with a box (b)", "M2 3h12v10H2z"],
  lasso: ["Select with a lasso", "M4 10C-1 6 5 2 10 2s7 5 1 8-8-1-6 0 1 5-1 4"],
  clear: ["Clear the selection (Escape)", "M3 3l10 10M13 3L3 13"],
};

/** The bytes of a trait as an array, without a copy where they are aligned. */
function as(Type, view) {
  const { buffer, byteOffset, byteLength } = view, size = Type.BYTES_PER_ELEMENT;
  return byteOffset % size ? new Type(buffer.slice(byteOffset, byteOffset + byteLength)) : new Type(buffer, byteOffset, byteLength / size);
}

/** A picture whose codes are unpacked, as `codes_of` of frame.py does it. */
async function unpack(k) {
  if (!k || !k.packed) return k;
  const stream = new Blob([k.codes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(stream).arrayBuffer(), { w, h } = k, n = w * h;
  if (k.whole) return { ...k, codes: new Uint16Array(buffer) };
  const bytes = new Uint8Array(buffer), codes = new Uint16Array(n);
  for (let i = 0; i < n; i++) {
    const signed = bytes[i] | (bytes[n + i] << 8);
    codes[i] = ((signed >> 1) ^ -(signed & 1)) + (i < w ? 0 : codes[i - w]);
  }
  for (let i = 0; i < n; i++) if (i % w) codes[i] += codes[i - 1];
  return { ...k, codes };
}

/** Plain keys belong to the control they are pressed on: Notebook 7 would move its cells with those of a slider. */
function keep(e) {
  const on = e.target.closest?.(".cv-panel") && !e.target.closest(".cv-view");
  if (on) e.target.toggleAttribute("data-lm-suppress-shortcuts", !(e.ctrlKey || e.metaKey || e.altKey || e.shiftKey));
}

function render({ model, el }, told) {
  const id = `cv-bar-${Math.random().toString(36).slice(2)}`; // a gradient is known by its id in the whole page
  const box = document.createElement("div"), canvas = document.createElement("canvas"), hover = document.createElement("div");
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const pen = canvas.getContext("2d"), sheet = () => ({ picture: document.createElement("canvas"), colour: new Uint32Array(65536), lut: null });
  if (!window.clearviewKeys) window.addEventListener("keydown", (window.clearviewKeys = keep), true); // before Jupyter hears it
  el.classList.add("cv-view");
  box.className = "cv-box";
  hover.className = "cv-hover";
  canvas.className = model.get("name");
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  canvas.setAttribute("data-lm-suppress-shortcuts", "true"); // or "0 0" would restart the kernel
  svg.setAttribute("aria-hidden", "true");
  const toolbar = document.createElement("div"), buttons = {};
  toolbar.className = "cv-tools";
  toolbar.setAttribute("role", "toolbar");
  toolbar.setAttribute("aria-label", "Pan and select");
  for (const [name, [words, d]] of Object.entries(TOOLS)) {
    const button = (buttons[name] = document.createElement("button"));
    button.type = "button";
    button.title = words;
    button.setAttribute("aria-label", words);
    button.setAttribute("data-lm-suppress-shortcuts", "true");
const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16" fill="none" stroke="black" stroke-width="1.3">` +
      `<path d="${d}" ${name === "box" ? 'stroke-dasharray="3 2"' : ""}/></svg>`;
    button.style.setProperty("--cv-icon", `url("data:image/svg+xml,${encodeURIComponent(icon)}")`); // a mask has the colour of the page
    button.addEventListener("click", () => (name === "clear" ? choose({}, true) : say("mode", name)));
    toolbar.append(button);
  }
  box.append(canvas, svg, toolbar);
  el.append(box, hover);

  const sheets = [sheet(), sheet()];
  let frame = {}, rasters = [], layers = [], range = null, drag = null, armed = false;
  let selection = {}, cursor = [], edited = null; // what is chosen, and the box that the keys move, in shares of the axes
  let W = 0, H = 0, L = 0, T = 0, R = 0; // size of the plot in CSS pixels, and the room beside and above it

  // A logarithmic axis is a plain one of exponents in here; what comes and goes are the numbers themselves.
  const inner = (v, axis = "y") => (frame[axis].log ? (v > 0 ? Math.log10(v) : NaN) : v);
  const outer = (v, axis = "y") => (frame[axis].log ? 10 ** v : v);
  const ends = (f, [x0, x1, y0, y1]) => [f(x0, "x"), f(x1, "x"), f(y0), f(y1)];
  const corners = (xy) => (frame.x.log || frame.y.log ? xy.map((v, i) => inner(v, i % 2 ? "y" : "x")) : xy);
  const view = () => {
    const told = ends(inner, model.get("range").length === 4 ? model.get("range") : frame.home);
    return told.every(Number.isFinite) ? told : ends(inner, frame.home);
  };

  let newest = 0;
  /** Show the model's frame, if need be once it is unpacked, unless a newer one has come by then. */
  function decode() {
    const next = model.get("frame") || {}, mine = ++newest, { under } = next;
    if (!next.packed && !under?.packed) return take(next);
    Promise.all([next, under].map(unpack)).then(([over, below]) => mine === newest && take({ ...over, under: below }));
  }

  function take(next) {
    frame = next;
    rasters = [frame, frame.under].filter((k) => k && k.codes).map((k, i) => paint(k, sheets[i])); // the upper one first
    layers = (frame.layers || []).map((k) => ({ ...k, xy: corners(as(Float64Array, k.xy)) }));
    box.classList.toggle("cv-raster", rasters.length > 0);
    if (frame.range && !seen.timer && !drag) range = view();
    dress();
    draw();
    if (!frame.range) return;
    for (const [k, v] of Object.entries(frame.data)) canvas.dataset[k] = v;
    // One answer for all views of a page, so that a second view costs the kernel nothing.
    if (told.seq !== frame.data.seq) model.send({ drawn: (told.seq = frame.data.seq) });
  }

  /** A raster with its codes as an array and its picture. */
  function paint(raster, sheet) {
    const { picture, colour } = sheet, { w, h } = raster, g = picture.getContext("2d");
    const codes = as(Uint16Array, raster.codes), bytes = as(Uint8Array, raster.lut);
    if (!sheet.lut || bytes.some((v, i) => v !== sheet.lut[i])) {
      const lut = (sheet.lut = bytes.slice());
      for (let c = 1; c < 65536; c++) {
        const i = 3 * (c >> 8);
        colour[c] = (255 << 24) | (lut[i + 2] << 16) | (lut[i + 1] << 8) | lut[i];
      }
    }
    if (picture.width !== w || picture.height !== h) { picture.width = w; picture.height = h; }
    const data = g.createImageData(w, h), p = new Uint32Array(data.data.buffer);
    for (let row = 0; row < h; row++) // the frame's first row is the lowest
      for (let c = 0, from = (h - 1 - row) * w, to = row * w; c < w; c++) p[to + c] = colour[codes[from + c]];
    g.putImageData(data, 0, 0);
    return { ...raster, codes, picture };
  }

  /** Everything: the axes first, since their words decide where the plot stands. */
  function draw() {
    W = model.get("width");
    H = model.get("height");
    if (frame.equal) {
      const [a, b, c, d] = frame.range, ratio = Math.max(0.25, Math.min(4, (d - c) / (b - a)));
      W = Math.round(W * Math.min(1, 1 / ratio));
      H = Math.round(model.get("width") * Math.min(1, ratio));
    }
    const dpr = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(W * dpr)) canvas.width = Math.round(W * dpr);
    if (canvas.height !== Math.round(H * dpr)) canvas.height = Math.round(H * dpr);
    pen.setTransform(dpr, 0, 0, dpr, 0, 0);
    axes();
    pen.clearRect(0, 0, W, H);
    if (!frame.range) return;
    const [x0, x1, y0, y1] = range, kx = W / (x1 - x0), ky = H / (y1 - y0);
    const [left, under] = [frame.x.reverse, frame.y.reverse];
    for (const { range: r, w, h, whole, picture } of [...rasters].reverse()) {
      const wide = (r[1] - r[0]) * kx, high = (r[3] - r[2]) * ky;
      // a fine grid is a smooth field; counts and coarse cells are to be seen as such, unless finer than a pixel
      pen.imageSmoothingEnabled = (!whole && w >= 48) || wide * dpr < w || high * dpr < h;
      pen.save();
      pen.transform(left ? -1 : 1, 0, 0, under ? -1 : 1, left ? W : 0, under ? H : 0);
      pen.drawImage(picture, (r[0] - x0) * kx, (y1 - r[3]) * ky, wide, high);
      pen.restore();
    }
    const X = left ? (v) => (x1 - v) * kx : (v) => (v - x0) * kx, Y = under ? (v) => (v - y0) * ky : (v) => (y1 - v) * ky;
    for (const layer of layers) vectors(layer, X, Y, left ? -kx : kx, under ? ky : -ky);
    const outline = new Path2D(), cross = new Path2D(), xy = corners(selection.xy || []);
    for (let k = 0; k < xy.length; k += 2) outline[k ? "lineTo" : "moveTo"](X(xy[k]), Y(xy[k + 1]));
    outline.closePath();
    if (xy.length) rimmed(outline, [5, 3]);
    if (!cursor.length) return;
    const [x, y] = [X(inner(cursor[0], "x")), Y(inner(cursor[1]))];
    cross.rect(x, -9, 0, H + 18);
    cross.rect(-9, y, W + 18, 0);
    rimmed(cross, []);
    if (model.get("follow")) rimmed(circle(x, y), []);
  }

  const circle = (x, y) => { const path = new Path2D(); path.arc(x, y, 4, 0, 7); return path; };
  /** A thin dark line that a bright rim keeps apart from any ground. */
  function rimmed(path, dash) {
    for (const [wide, ink, alpha, pattern] of [[3, "white", 0.7, []], [1.2, "black", 1, dash]]) {
      [pen.lineWidth, pen.strokeStyle, pen.globalAlpha] = [wide, ink, alpha];
      pen.setLineDash(pattern);
      pen.stroke(path);
    }
    pen.setLineDash([]);
  }

  /** One vector layer: with a rim in the opposite shade over a picture, coloured without one. */
  function vectors({ kind, xy, text, ink, rim, dash, rgb }, X, Y, kx, ky) {
    if (kind === "text") {
      const x = X(xy[0]), y = Y(xy[1]);
      pen.font = `${rim ? "bold" : "normal"} 13px ${look.font}`;
      pen.textBaseline = "middle";
      pen.textAlign = x + 14 + pen.measureText(text).width > W && x > W / 2 ? "right" : "left";
      const at = [text, x + (pen.textAlign === "left" ? 9 : -9), y];
      [pen.lineWidth, pen.lineJoin, pen.strokeStyle, pen.fillStyle] = [3, "round", rim, ink || look.color];
      if (rim) pen.strokeText(...at);
      pen.fillText(...at);
      return;
    }
    if (rgb) {
      const colour = as(Uint8Array, rgb), size = xy.length > 4000 ? 1.5 : xy.length > 600 ? 2.2 : 3;
      [pen.lineWidth, pen.strokeStyle] = [0.5, "#0006"]; // a pale star is seen on white
      for (let k = 0; k < xy.length; k += 2) {
        const [r, g, b] = colour.subarray(1.5 * k, 1.5 * k + 3), dot = new Path2D();
        dot.arc(X(xy[k]), Y(xy[k + 1]), size, 0, 7);
        pen.fillStyle = `rgb(${r},${g},${b})`;
        pen.fill(dot);
        pen.stroke(dot);
      }
      return;
    }
    const path = new Path2D(), crowd = kind === "points" && xy.length > 400, thick = kind === "path" || kind === "curve" ? 1.8 : kind === "contours" ? 1 : 1.3;
    if (kind === "arrows")
      for (let k = 0; k < xy.length; k += 4) {
        const x = X(xy[k]), y = Y(xy[k + 1]), dx = xy[k + 2] * kx, dy = xy[k + 3] * ky, n = Math.hypot(dx, dy);
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
        const x = X(xy[k]), y = Y(xy[k + 1]), size = crowd ? 1.3 : xy.length > 40 ? 2 : 4;
        path.moveTo(x + size, y);
        path.arc(x, y, size, 0, 7);
      }
    else
      for (let k = 0, down = false; k < xy.length; k += 2) {
        if (xy[k] !== xy[k] || xy[k + 1] !== xy[k + 1]) down = false;
        else { path[down ? "lineTo" : "moveTo"](X(xy[k]), Y(xy[k + 1])); down = true; }
      }
    if (kind === "band") {
      [pen.fillStyle, pen.globalAlpha] = [ink, 0.25];
      pen.fill(path);
      pen.globalAlpha = 1;
      return;
    }
    pen.lineJoin = pen.lineCap = "round";
    pen.setLineDash(dash);
    if (rim) { [pen.lineWidth, pen.strokeStyle, pen.globalAlpha] = [crowd ? 1 : thick + 1.8, rim, 0.6]; pen.stroke(path); pen.globalAlpha = 1; }
    [pen.lineWidth, pen.strokeStyle, pen.fillStyle] = [rim ? thick : 1.8, ink, ink];
    kind === "points" ? pen.fill(path) : pen.stroke(path);
    pen.setLineDash([]);
  }

  // ---- axes ----------------------------------------------------------------------------------------------------

  /** The width of the widest of some texts, CSS pixels. */
  function widest(texts, size = 12) {
    pen.font = `${size}px ${look.font}`;
    return Math.max(0, ...texts.map((s) => pen.measureText(s).width));
  }

  /** A title in lines that are no wider than `room`: broken at its semicolons, and between words where that is not enough. */
  function wrap(title, room) {
    const fits = (s) => widest([s], 13) <= room, lines = [];
    for (const part of title ? title.split(/(?<=;) /) : [])
      (fits(part) ? [part] : part.split(" ")).forEach((words) => {
        const longer = `${lines[lines.length - 1]} ${words}`;
        if (lines.length && fits(longer)) lines[lines.length - 1] = longer;
        else lines.push(words);
      });
    return lines;
  }

  /** Ticks along x, as many as their texts leave room for. */
  function across(a, b) {
    for (let n = Math.max(3, W / 60); ; n *= 0.7) {
      const texts = frame.x.log ? powers(a, b, n) : write(ticks(a, b, n));
      const apart = Math.min(...texts.slice(1).map(([t], i) => t - texts[i][0]));
      if (n < 2 || widest(texts.map((t) => t[1])) + 12 < (apart / (b - a)) * W) return texts;
    }
  }

  let last = "", look = {}, room = { of: "" };
  const page = () => { const { fontFamily, color } = getComputedStyle(el); return { font: fontFamily || "sans-serif", color }; };
  function axes() {
    look = page();
    const hands = toolbar.hidden ? 0 : 27 * (2 + model.get("tools").length) + 8, raster = rasters.length > 0;
    const lut = raster ? sheets[0].lut : frame.lut && as(Uint8Array, frame.lut);
    const key = JSON.stringify([range, W, H, frame.x, frame.y, frame.z, frame.ticks, frame.title, frame.legend, layers.map((k) => [k.kind, k.label, k.ink, k.dash]),
      frame.range ? 0 : model.get("message"), lut && lut.slice(0, 9), look.font, hands]);
    if (key === last) return;
    last = key;
    const [x0, x1, y0, y1] = range || [0, 1, 0, 1], tx = frame.range ? across(x0, x1) : [];
    const ty = frame.range ? (frame.y.log ? powers : (...of) => write(ticks(...of)))(y0, y1, Math.max(3, H / 40)) : [], bar = frame.ticks || [];
    // The room for numbers and the title grows with them but does not shrink again, or the picture would jump to and fro.
    const of = JSON.stringify([frame.y, (frame.title || "").split(";").length]);
    if (room.of !== of) room = { of, left: 0, right: 0, lines: 0, beside: 0 };
    room.left = Math.max(room.left, Math.ceil(widest(ty.map((t) => t[1]))), 27);
    room.right = Math.max(room.right, Math.ceil(widest(bar.map((t) => t[1]))), 27);
    L = 35 + room.left;
    R = lut || !frame.range ? 62 + room.right : Math.ceil(Math.max(14, widest(tx.map((t) => t[1])) / 2, (widest([frame.x.label], 13) - W) / 2) + 2);
    R = room.beside = Math.max(room.beside, R, hands && W < 300 ? 89 : 0); // a small view keeps room for its buttons
    const beside = W + R - hands > 200, title = wrap(frame.title, W + R - (beside ? hands : 0)), above = hands && !beside ? 28 : 0;
    room.lines = Math.max(room.lines, title.length);
    T = Math.max(above + (room.lines ? 10 + 17 * room.lines : raster ? 12 : 16), hands && 32);
    box.style.width = `${L + W + R}px`;
    box.style.height = `${T + H + 44}px`;
    [canvas.style.left, canvas.style.top, canvas.style.width, canvas.style.height] = [L, T, W, H].map((v) => `${v}px`);
    hover.style.marginLeft = `${L}px`;
    hover.style.display = frame.range && !raster ? "none" : "";

    const out = [`<rect class="cv-frame" x="${L}" y="${T}" width="${W}" height="${H}"/>`];
    const text = (x, y, s, more = "") => out.push(`<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${more}>${esc(s)}</text>`);
    const line = (x1, y1, x2, y2, cls = "cv-frame") => out.push(`<line class="${cls}" x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}"/>`);
    const middle = 'text-anchor="middle"', label = 'class="cv-label"';
    const upright = (x, s, top = 2) => { // a name longer than its axis begins at the very top, not above it
      const y = Math.max(T + H / 2, widest([s], 13) / 2 + top);
      text(0, 0, s, `${middle} ${label} transform="translate(${x} ${y.toFixed(1)}) rotate(-90)"`);
    };
    if (!frame.range) {
      // words wrap in HTML only
      out.push(`<foreignObject x="${L + 20}" y="${T + H / 2 - 40}" width="${W - 40}" height="120"><div style="text-align:center;font-size:13px">${esc(model.get("message"))}</div></foreignObject>`);
      svg.innerHTML = out.join("");
      return;
    }
    for (const [t, words] of tx) {
      const share = (t - x0) / (x1 - x0), x = Math.round(L + (frame.x.reverse ? 1 - share : share) * W);
      if (!raster) line(x, T, x, T + H, "cv-grid");
      line(x, T + H, x, T + H + 4);
      text(x, T + H + 17, words, middle);
    }
    for (const [t, words] of ty) {
      const share = (t - y0) / (y1 - y0), y = Math.round(T + (frame.y.reverse ? share : 1 - share) * H);
      if (!raster) line(L, y, L + W, y, "cv-grid");
      line(L - 4, y, L, y);
      text(L - 7, y + 4, words, 'text-anchor="end"');
    }
    text(L + W / 2, T + H + 36, frame.x.label, `${middle} ${label}`);
    upright(13, frame.y.label);
    title.forEach((s, i) => text(L, T - 9 - 17 * (title.length - 1 - i), s, label));
    if (lut) {
      const x = L + W + 14, rgb = (i) => `rgb(${lut[3 * i]},${lut[3 * i + 1]},${lut[3 * i + 2]})`;
      const stops = Array.from({ length: 33 }, (_, i) => `<stop offset="${i / 32}" stop-color="${rgb(Math.round((i * 255) / 32))}"/>`);
      out.push(`<linearGradient id="${id}" x1="0" y1="1" x2="0" y2="0">${stops.join("")}</linearGradient>`,
        `<rect class="cv-frame" x="${x}" y="${T}" width="14" height="${H}" style="fill:url(#${id})"/>`);
      let below = Infinity;
      for (const [share, words] of bar) {
        const y = Math.round(T + H * (1 - share));
        line(x + 14, y, x + 18, y);
        if (below - y >= 14) { text(x + 21, y + 4, words); below = y; }
      }
      upright(L + W + R - 7, frame.z.label, hands ? 30 : 2);
    }
    const told = layers.filter(named), [corner, side] = (frame.legend || "upper right").split(" ");
    told.forEach(({ kind, label, ink, rim, dash }, row) => {
      const y = corner === "upper" ? T + 17 + 17 * row : T + H - 8 - 17 * (told.length - 1 - row);
      const left = side === "left", x = left ? L + 8 : L + W - 34;
      const rimmed = rim ? `style="fill:${ink};stroke:${rim};stroke-width:3px;stroke-linejoin:round;paint-order:stroke;font-weight:bold"` : "";
      text(left ? x + 31 : x - 5, y, label, `text-anchor="${left ? "start" : "end"}" ${rimmed}`);
      if (kind === "band") return out.push(`<rect x="${x}" y="${y - 9}" width="26" height="10" fill="${ink}" opacity="0.25"/>`);
      const mark = kind === "points" ? `<circle cx="${x + 13}" cy="${y - 4}" r="3.5" fill="${ink}"` : `<path d="M${x} ${y - 4}h26" fill="none"`;
      if (rim) out.push(`${mark} stroke="${rim}" stroke-width="3.6" stroke-opacity="0.6" stroke-dasharray="${dash}"/>`);
      out.push(`${mark} ${kind === "points" ? "" : `stroke="${ink}" stroke-width="1.8" stroke-dasharray="${dash}"`}/>`);
    });
    svg.innerHTML = out.join("");
  }

  // ---- hand and keys -------------------------------------------------------------------------------------------

  const say = (name, value) => { model.set(name, value); model.save_changes(); };
  /** A trait that the hand changes: the kernel hears of it at most every `wait` ms. */
  function slowly(name, wait) {
    let value;
    const send = () => { clearTimeout(it.timer); it.timer = 0; say(name, value); };
    const it = { timer: 0, say(v, now) { value = v; if (now) send(); else it.timer ||= setTimeout(send, wait); } };
    return it;
  }
  const seen = slowly("range", 80), chosen = slowly("selection", 80), pointed = slowly("cursor", 40);
  /** Show `range` at once by stretching the old frame; ask for a new one. */
  function push(home = false) {
    edited = null;
    draw();
    seen.say(home ? [] : ends(outer, range), home);
  }
  /** Show a selection at once. */
  function choose(value, now) {
    selection = value;
    if (now) drag = edited = null;
    dress();
    draw();
    chosen.say(value, now);
  }
  function point(to) {
    cursor = to;
    draw();
    pointed.say(to);
  }
  const home = () => { range = ends(inner, frame.home); push(true); };
  function zoom(k, u = 0.5, v = 0.5) {
    const [x0, x1, y0, y1] = range, x = x0 + u * (x1 - x0), y = y0 + v * (y1 - y0), h = ends(inner, frame.home);
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
  const turn = (right, up) => [frame.x.reverse ? -right : right, frame.y.reverse ? -up : up];
  /** The data under shares of the axes. */
  const place = ([u, v]) => [outer(range[0] + u * (range[1] - range[0]), "x"), outer(range[2] + v * (range[3] - range[2]))];
  const shares = ([x, y]) => [(inner(x, "x") - range[0]) / (range[1] - range[0]), (inner(y) - range[2]) / (range[3] - range[2])];
  /** A box between two corners, in shares of the axes. */
  const rectangle = ([a, c], [b, d], op = "replace") =>
    ({ kind: "box", xy: [[a, c], [b, c], [b, d], [a, d]].flatMap(place), op });
  /** What an arrow key does: it moves or grows the box that the keys hold, or moves the cursor or what is seen. */
  function step(right, up, shift) {
    const [u, v] = turn(right, up);
    if (!edited && shift && model.get("follow")) {
      const at = cursor.length ? shares(cursor) : [0.5, 0.5];
      return point(place([at[0] + u / 100, at[1] + v / 100]));
    }
    if (!edited) return pan(u / 10, v / 10);
    let [a, b, c, d] = edited;
    // both sides grow, which is the same on an axis that is turned round
    [a, b, c, d] = shift ? [a - right / 100, b + right / 100, c - up / 100, d + up / 100] : [a + u / 50, b + u / 50, c + v / 50, d + v / 50];
    if (b - a < 0.01 || d - c < 0.01) return;
    edited = [a, b, c, d];
    choose(rectangle([a, c], [b, d]), false);
  }
  /** Where the mouse is, as shares of the axes. */
  function at(e) {
    const q = canvas.getBoundingClientRect(), u = (e.clientX - q.left) / W, v = (e.clientY - q.top) / H;
    return [frame.x.reverse ? 1 - u : u, frame.y.reverse ? v : 1 - v];
  }

  function read(e) {
    const [x, y] = place(at(e));
    const tell = (a, n, mark = "= ") => `${a.name} ${mark}${n}${a.unit ? " " + a.unit : ""}`;
    const parts = [tell(frame.x, short(x)), tell(frame.y, short(y))];
    for (const { range: r, codes, w, h, low, high, log, whole, z } of [...rasters].reverse()) {
      const c = Math.floor(((x - r[0]) / (r[1] - r[0])) * w), q = Math.floor(((y - r[2]) / (r[3] - r[2])) * h);
      const within = c >= 0 && c < w && q >= 0 && q < h, code = within ? codes[q * w + c] : 0, t = (code - 1) / 65534;
      const near = log ? Math.exp(Math.log(low) + t * (Math.log(high) - Math.log(low))) : low + t * (high - low);
      const value = whole ? Math.round(near) : near;
      const mark = code === 65535 ? "≥ " : code === 1 ? "≤ " : "= ";
      if (code) parts.push(tell(z, short(value), mark));
      else if (within && whole) parts.push(tell(z, "0")); // a count without a colour is none
      else parts.push(rasters.length > 1 ? `${z.name}: no value` : "no value");
    }
    hover.textContent = parts.join(",  ");
  }

  const on = (type, f, options) => canvas.addEventListener(type, (e) => frame.range && f(e), options);
  on("wheel", (e) => {
    if (!armed) return; // a page scrolled over a plot goes on scrolling
    e.preventDefault();
    zoom(Math.exp(Math.max(-200, Math.min(200, e.deltaY * (e.deltaMode ? 30 : 1))) * 0.002), ...at(e));
  }, { passive: false });
  const tool = () => (model.get("tools").includes(model.get("mode")) ? model.get("mode") : "pan");
  /** The distance in CSS pixels of the mouse from the crosshair. */
  function apart(e) {
    if (!model.get("follow") || !cursor.length) return Infinity;
    const [u, v] = at(e), [a, b] = shares(cursor);
    return Math.hypot((u - a) * W, (v - b) * H);
  }
  on("pointerdown", (e) => {
    if (e.button || !e.isPrimary) return;
    const mode = tool(), op = e.shiftKey ? "add" : e.altKey || e.ctrlKey ? "subtract" : "replace", from = at(e);
    drag = { mode: mode === "pan" && apart(e) < 8 ? "cursor" : mode, op, from, x: e.clientX, y: e.clientY, range: [...range], track: [] };
    edited = null;
    canvas.setPointerCapture(e.pointerId);
  });
  on("mousedown", (e) => { if (e.shiftKey) e.stopPropagation(); }); // or JupyterLab would select cells
  const GESTURES = {
    pan: ([u, v], { from, range }) => pan(from[0] - u, from[1] - v, range),
    cursor: (to) => point(place(to)),
    box: (to, { from, op }) => choose(rectangle(from, to, op), false),
    lasso(to, { track, op }) {
      const [u, v] = track.length ? shares(track[track.length - 1]) : [NaN, NaN];
      if (Math.hypot((to[0] - u) * W, (to[1] - v) * H) < 2) return;
      track.push(place(to));
      selection = { kind: "lasso", xy: track.flat(), op };
      draw();
    },
  };
  /** The end of a gesture; one that was no drag, or came to nothing, leaves what was chosen before. */
  function release(e) {
    if (!drag) return;
    const { mode, far, track } = drag, every = Math.ceil(track.length / 300);
    drag = null;
    if (e.type !== "pointerup") return restore();
    if (!far) { if (model.get("follow") && (mode === "pan" || mode === "cursor")) point(place(at(e))); }
    else if (mode === "box") choose(selection, true);
    else if (mode === "lasso" && track.length > 2)
      choose({ ...selection, xy: track.filter((_, i) => i % every === 0).flat() }, true);
    else restore();
  }
  on("pointerup", release);
  on("pointercancel", release);
  on("pointerleave", () => { armed = false; hover.textContent = "\u00a0"; });
  on("dblclick", () => tool() === "pan" && home());
  on("pointermove", (e) => {
    armed = armed || e.movementX !== 0 || e.movementY !== 0;
    if (drag) {
      drag.far ||= Math.hypot(e.clientX - drag.x, e.clientY - drag.y) > 3;
      if (drag.far) GESTURES[drag.mode](at(e), drag);
    }
    read(e);
  });
  const KEYS = {
    ArrowLeft: (shift) => step(-1, 0, shift), ArrowRight: (shift) => step(1, 0, shift),
    ArrowUp: (shift) => step(0, 1, shift), ArrowDown: (shift) => step(0, -1, shift),
    "+": () => zoom(0.8), "=": () => zoom(0.8), "-": () => zoom(1.25), 0: home,
  };
  /** What a key does now, if anything. */
  function act(key) {
    if (key === "Escape" && (drag || selection.kind)) return () => choose({}, true);
    if (key === "Enter" && edited) return () => choose(selection, true);
    if (key === "b" && model.get("tools").includes("box"))
      return () => { choose(rectangle([0.25, 0.25], [0.75, 0.75]), false); edited = [0.25, 0.75, 0.25, 0.75]; };
    return KEYS[key];
  }
  box.addEventListener("keydown", (e) => {
    const f = frame.range && (e.target === canvas || e.key === "Escape") && act(e.key);
    if (!f || e.ctrlKey || e.metaKey || e.altKey) return;
    e.preventDefault();
    e.stopPropagation();
    f(e.shiftKey);
  });

  /** What is seen and which keys there are, for who hears the page. */
  function describe(tools) {
    const pictures = rasters.map(({ z, low, high, log }) =>
      `${z.name} from ${short(low)} to ${short(high)}${z.unit ? " " + z.unit : ""}${log ? " (logarithmic)" : ""}`);
    const names = [...new Set(layers.filter(named).map((k) => k.label))].join(", ");
    const what = pictures.length ? pictures.join(" over ") : `Plot${names ? " of " + names : ""}`;
    const keys = ["Arrow keys pan", "plus and minus zoom", "0 shows everything"];
    if (model.get("follow")) keys.push("shift with arrow keys moves the cursor");
    if (tools.includes("box")) keys.push("b begins a box that arrow keys move and shift with arrow keys resizes, until Enter");
    if (tools.length) keys.push("Escape clears the selection");
    return `${frame.title ? frame.title + ": " : ""}${what}; ${frame.y.label}${frame.y.log ? " (logarithmic)" : ""} against ${frame.x.label}${frame.x.log ? " (logarithmic)" : ""}. ${keys.join(", ")}.`;
  }
  /** The buttons and words, as the kernel and the hand left them. */
  function dress() {
    const tools = model.get("tools");
    canvas.setAttribute("aria-label", frame.range ? describe(tools) : model.get("message"));
    toolbar.hidden = !tools.length || !frame.range;
    for (const [name, button] of Object.entries(buttons)) {
      button.hidden = (name === "box" || name === "lasso") && !tools.includes(name);
      if (name === "clear") button.disabled = !selection.kind;
      else button.setAttribute("aria-pressed", tool() === name);
    }
  }
  /** What the kernel says was chosen, unless the hand is choosing. */
  function restore() {
    if (drag) return;
    if (!chosen.timer) selection = model.get("selection");
    if (!pointed.timer) cursor = model.get("cursor");
    dress();
    draw();
  }

  hover.textContent = "\u00a0";
  const moved = () => { if (frame.range && !seen.timer && !drag) { range = view(); draw(); } };
  /** Text for the clipboard; where the page may not write there, by hand of a text area that nobody sees. */
  function copy({ copy: text, id }) {
    if (text === undefined || told.copied === id) return;
    told.copied = id; // by one view only
    const aside = () => {
      const area = document.body.appendChild(document.createElement("textarea"));
      area.value = text;
      area.style.cssText = "position:fixed;opacity:0";
      area.select();
      document.execCommand("copy");
      area.remove();
    };
    navigator.clipboard ? navigator.clipboard.writeText(text).catch(aside) : aside();
  }
  const listeners = {
    frame: decode, range: moved, message: restore, width: draw, height: draw, tools: restore, mode: restore,
    selection: restore, cursor: restore, follow: restore,
  };
  for (const [name, f] of Object.entries(listeners)) model.on(`change:${name}`, f);
  model.on("msg:custom", copy);
  window.addEventListener("resize", draw);
  // A view is drawn before it stands in its page, whose letters and colours may be others. Another theme later on is told
  // by the end of a transition too short to see, which the style sheet gives the colour of text.
  const again = () => JSON.stringify(page()) !== JSON.stringify(look) && draw();
  const placed = new ResizeObserver(again);
  placed.observe(el);
  el.addEventListener("transitionend", again);
  restore();
  decode();
  return () => {
    for (const [name, f] of Object.entries(listeners)) model.off(`change:${name}`, f);
    model.off("msg:custom", copy);
    window.removeEventListener("resize", draw);
    placed.disconnect();
    newest++; // a frame that is being unpacked has nowhere to go
    for (const { timer } of [seen, chosen, pointed]) clearTimeout(timer);
  };
}

/** A function, so that the views of one widget share what has been told. */
export default () => {
  const told = { seq: 0 };
  return { render: (context) => render(context, told) };
};
