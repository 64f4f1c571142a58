// The zoo in the reader's browser: docs/browser.md.
//
// The models are ONNX graphs (tools/browser_zoo.py), run by onnxruntime-web on one thread; nothing leaves the page.
// z is drawn here and decoded by the model. bits/dim, latents and images are the model's, equal to Python's up to the
// rounding of float32. `window.browserZoo` has the functions, for the test and for the curious.

const STATIC = new URL(".", import.meta.url);
const SCORES = {
  likelihood: ["Likelihood", "bits/dim of the drawing"],
  typicality: ["Typicality", "distance to the bits/dim of usual digits"],
  complexity: ["Input complexity", "bits/dim beyond what zlib needs"],
};
const COLUMNS = 8, ROWS = 3, STEPS = 9;

// Files ------------------------------------------------------------------------------------------------------------

let received = 0;

async function fetched(path) {
  const response = await fetch(new URL(path, STATIC));
  if (!response.ok) throw new Error(`${path}: ${response.status} ${response.statusText}`);
  const chunks = [];
  const reader = response.body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    chunks.push(part.value);
    received += part.value.length;
    window.dispatchEvent(new CustomEvent("browser-zoo-progress"));
  }
  const blob = new Blob(chunks);
  const start = new Uint8Array(await blob.slice(0, 2).arrayBuffer());
  if (start[0] !== 0x1f || start[1] !== 0x8b) return new Uint8Array(await blob.arrayBuffer());  // the server unpacked it
  const stream = blob.stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const once = (make) => {
  const known = new Map();
  return (key) => {
    if (!known.has(key)) known.set(key, make(key));
    return known.get(key);
  };
};

const runtime = once(async () => {
  const [ort, wasm] = await Promise.all([
    import(new URL("onnxruntime-web/ort.wasm.bundle.min.mjs", STATIC)),
    fetched("onnxruntime-web/ort-wasm-simd-threaded.wasm.gz"),
  ]);
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = wasm.buffer;
  ort.env.logLevel = "error";
  return ort;
});

const coder = once(
  () =>
    new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = new URL("pako/pako_deflate.min.js", STATIC);
      script.onload = () => resolve(window.pako);
      script.onerror = () => reject(new Error("pako does not load"));
      document.head.append(script);
    }),
);

const index = once(async () => JSON.parse(new TextDecoder().decode(await fetched("models/index.json"))));
const weights = once((name) => fetched(`models/${name}/weights.bin.gz`));
const session = once(async (key) => {
  const [name] = key.split("/");
  const [ort, graph, data] = await Promise.all([runtime(), fetched(`models/${key}.onnx.gz`), weights(name)]);
  return ort.InferenceSession.create(graph, { externalData: [{ path: "weights.bin", data }] });
});

// The model --------------------------------------------------------------------------------------------------------

const product = (shape) => shape.reduce((a, b) => a * b, 1);

async function run(entry, endpoint, values, type, shape) {
  const [ort, model] = await Promise.all([runtime(), session(`${entry.name}/${endpoint}`)]);
  const batch = values.length / product(shape);
  const input = new ort.Tensor(type, values, [batch, ...shape]);
  const outputs = await model.run({ [model.inputNames[0]]: input });
  return (outputs[endpoint] ?? outputs[model.outputNames[0]]).data;
}

const decode = (entry, z) => run(entry, "decode", z, "float32", entry.latent_shape);
const encode = (entry, images) => run(entry, "encode", images, "uint8", entry.shape);

function generator(seed) {
  let state = seed >>> 0;  // mulberry32
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 4294967296;
  };
}

function latents(entry, count, temperature, seed) {
  const uniform = generator(seed);
  const draw =
    entry.base === "logistic"
      ? () => Math.log(1 / (1 / uniform() - 1))
      : () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  return Float32Array.from({ length: count * product(entry.latent_shape) }, () => temperature * draw());
}

async function score(entry, image) {
  const size = product(entry.shape);
  const [logProb, pako] = await Promise.all([run(entry, "log_prob", image, "uint8", entry.shape), coder()]);
  const bits = -Number(logProb[0]) / (size * Math.LN2);
  const code = (8 * pako.deflate(image, { level: 9 }).length) / size;
  return { likelihood: bits, typicality: Math.abs(bits - entry.entropy), complexity: bits - code };
}

// What share of test images has a lower score, from 41 quantiles.
function rank(quantiles, value) {
  const last = quantiles.length - 1;
  if (!(value > quantiles[0])) return 0;
  if (value >= quantiles[last]) return 1;
  const above = quantiles.findIndex((quantile) => quantile > value);
  const [low, high] = [quantiles[above - 1], quantiles[above]];
  return (above - 1 + (value - low) / (high - low)) / last;
}

// From strokes to an image as the data set has them ----------------------------------------------------------------

function inked(canvas) {
  const { width, height } = canvas;
  const pixels = canvas.getContext("2d").getImageData(0, 0, width, height).data;
  let [left, right, top, bottom] = [width, -1, height, -1];
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      if (pixels[4 * (y * width + x)] > 127) {
        [left, right] = [Math.min(left, x), Math.max(right, x)];
        [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
      }
  return right < 0 ? null : { left, top, width: right - left + 1, height: bottom - top + 1 };
}

function redrawn(canvas, box, side, inner, shiftX = 0, shiftY = 0) {
  const target = new OffscreenCanvas(side, side);
  const context = target.getContext("2d", { willReadFrequently: true });
  context.fillRect(0, 0, side, side);
  context.imageSmoothingQuality = "high";
  const scale = inner / Math.max(box.width, box.height);
  const [width, height] = [box.width * scale, box.height * scale];
  const place = [(side - width) / 2 + shiftX, (side - height) / 2 + shiftY, width, height];
  context.drawImage(canvas, box.left, box.top, box.width, box.height, ...place);
  const pixels = context.getImageData(0, 0, side, side).data;
  return Float64Array.from({ length: side * side }, (_, i) => pixels[4 * i]);
}

// scikit-learn's digits: bitmaps of 32x32, the ink counted in blocks of 4x4. MNIST: 20x20 within 28x28, centred at the
// centre of mass.
function digit(entry, canvas) {
  const box = inked(canvas);
  const [height, width] = entry.shape;
  const image = new Uint8Array(product(entry.shape));
  if (!box) return image;
  if (height === 8) {
    redrawn(canvas, box, 32, 32).forEach((value, i) => {
      image[8 * Math.floor(i / 128) + Math.floor((i % 32) / 4)] += value > 127;
    });
    return image;
  }
  let pixels = redrawn(canvas, box, width, (20 / 28) * width);
  const mass = pixels.reduce((a, b) => a + b, 0) || 1;
  const centre = [0, 1].map((axis) =>
    pixels.reduce((sum, value, i) => sum + value * (axis ? Math.floor(i / width) : i % width), 0) / mass);
  pixels = redrawn(canvas, box, width, (20 / 28) * width, ...centre.map((c) => Math.round((width - 1) / 2 - c)));
  return Uint8Array.from(pixels, (value) => Math.round((value * (entry.num_values - 1)) / 255));
}

// Drawing ----------------------------------------------------------------------------------------------------------

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in made && typeof value !== "string") made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function paint(canvas, entry, image) {
  const [height, width] = entry.shape;
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  const picture = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    picture.data.fill(Math.round((255 * image[i]) / (entry.num_values - 1)), 4 * i, 4 * i + 3);
    picture.data[4 * i + 3] = 255;
  }
  context.putImageData(picture, 0, 0);
}

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
const nextFrame = () => new Promise((resolve) => setTimeout(resolve));

class Page {
  constructor(root, entries) {
    this.entries = entries;
    const wanted = new URLSearchParams(location.search).get("model");
    this.entry = entries.find((entry) => entry.name === wanted) ?? entries[0];
    this.seed = 1;
    this.chosen = [];
    this.root = root;
    this.root.replaceChildren(this.header(), this.samples(), this.walk(), this.drawing());
    window.addEventListener("browser-zoo-progress", () => this.say(`loading, ${megabytes(received)}`));
    this.choose(this.entry.name);
  }

  say(text) {
    this.status.textContent = text;
  }

  header() {
    this.select = element("select", { id: "bz-entry", "aria-label": "Model" });
    for (const { name, bits_per_dim } of this.entries)
      this.select.append(element("option", { value: name }, `${name} · ${bits_per_dim} bits/dim`));
    this.select.value = this.entry.name;
    this.select.addEventListener("change", () => this.choose(this.select.value));
    this.status = element("span", { class: "bz-status", role: "status" });
    this.about = element("p", { class: "bz-about" });
    const row = element("div", { class: "bz-row" }, element("label", { for: "bz-entry" }, "Model"), this.select, this.status);
    return element("div", { class: "bz-head" }, row, this.about);
  }

  samples() {
    this.temperature = element("input", {
      type: "range", min: "0", max: "1.2", step: "0.05", value: "0.8", id: "bz-temperature",
    });
    const shown = element("output", {}, "0.80");
    this.temperature.addEventListener("input", () => {
      shown.textContent = Number(this.temperature.value).toFixed(2);
      this.draw();
    });
    const again = element("button", { type: "button", id: "bz-again" }, "Draw others");
    again.addEventListener("click", () => {
      this.seed += 1;
      this.draw();
    });
    this.tiles = Array.from({ length: COLUMNS * ROWS }, (_, place) => {
      const tile = element("button", { type: "button", class: "bz-tile", "aria-label": `Sample ${place + 1}` });
      tile.append(element("canvas", { width: 1, height: 1 }));
      tile.addEventListener("click", () => this.pick(place));
      return tile;
    });
    return element("section", { class: "bz-panel" },
      element("h2", {}, "Draw samples"),
      element("div", { class: "bz-row" },
        element("label", { for: "bz-temperature" }, "Temperature"), this.temperature, shown, again),
      element("div", { class: "bz-grid" }, ...this.tiles));
  }

  walk() {
    this.path = Array.from({ length: STEPS }, () => element("canvas", { width: 1, height: 1 }));
    return element("section", { class: "bz-panel" },
      element("h2", {}, "Walk between two images"),
      element("p", {}, "Pick two of the samples above: their latents, and seven points on the straight line between them."),
      element("div", { class: "bz-path" }, ...this.path));
  }

  drawing() {
    this.pad = element("canvas", { width: 256, height: 256, class: "bz-pad", "aria-label": "Draw a digit here" });
    this.seen = element("canvas", { width: 1, height: 1, class: "bz-seen" });
    const clear = element("button", { type: "button" }, "Clear");
    clear.addEventListener("click", () => this.clear());
    let last = null;
    const at = (event) => {
      const box = this.pad.getBoundingClientRect();
      return [((event.clientX - box.left) * 256) / box.width, ((event.clientY - box.top) * 256) / box.height];
    };
    const stroke = (event) => {
      if (!last) return;
      const context = this.pad.getContext("2d", { willReadFrequently: true });
      Object.assign(context, { lineWidth: 26, lineCap: "round", strokeStyle: "#fff" });
      context.beginPath();
      context.moveTo(...last);
      last = at(event);
      context.lineTo(...last);
      context.stroke();
    };
    this.pad.addEventListener("pointerdown", (event) => {
      this.pad.setPointerCapture(event.pointerId);
      last = at(event);
      stroke(event);
    });
    this.pad.addEventListener("pointermove", stroke);
    for (const name of ["pointerup", "pointercancel"])
      this.pad.addEventListener(name, () => {
        if (last) this.judge();
        last = null;
      });
    this.meters = {};
    const rows = Object.entries(SCORES).map(([key, [title, what]]) => {
      const value = element("span", { class: "bz-value" }, "–");
      const bar = element("span", { class: "bz-bar" }, element("span"));
      const verdict = element("span", { class: "bz-verdict" }, what);
      this.meters[key] = { value, bar, verdict, what };
      return element("div", { class: "bz-score", id: `bz-${key}` }, element("span", { class: "bz-name" }, title), value, bar, verdict);
    });
    const seen = element("div", { class: "bz-side" }, element("span", {}, "The model sees"), this.seen, clear);
    return element("section", { class: "bz-panel" },
      element("h2", {}, "Draw a digit"),
      element("div", { class: "bz-drawing" }, this.pad, seen, element("div", { class: "bz-scores" }, ...rows)));
  }

  async choose(name) {
    this.entry = this.entries.find((entry) => entry.name === name);
    this.about.textContent = this.entry.description;
    this.root.style.setProperty("--bz-smooth", this.entry.shape[0] > 16 ? "auto" : "pixelated");
    this.chosen = [];
    this.clear();
    for (const canvas of this.path) canvas.width = canvas.width;
    await this.draw();
  }

  // Draws samples; a newer call takes the place of one that is not finished.
  async draw() {
    const turn = (this.turn = (this.turn || 0) + 1);
    const { entry } = this;
    const size = product(entry.latent_shape);
    try {
      const z = latents(entry, this.tiles.length, Number(this.temperature.value), this.seed);
      const started = performance.now();
      this.images = [];
      for (let first = 0; first < this.tiles.length; first += COLUMNS) {
        const images = await decode(entry, z.slice(first * size, (first + COLUMNS) * size));
        if (turn !== this.turn) return;
        const pixels = product(entry.shape);
        for (let i = 0; i < COLUMNS; i++) {
          this.images[first + i] = images.slice(i * pixels, (i + 1) * pixels);
          paint(this.tiles[first + i].firstChild, entry, this.images[first + i]);
        }
        api.firstSample ??= performance.now();
        await nextFrame();
      }
      const seconds = ((performance.now() - started) / 1000).toFixed(2);
      this.chosen = [0, COLUMNS - 1];
      await this.step();
      if (turn === this.turn) this.say(`${this.tiles.length} samples in ${seconds} s · ${megabytes(received)} loaded`);
    } catch (error) {
      this.fail(error);
    }
  }

  pick(place) {
    this.chosen = [...this.chosen, place].slice(-2);
    this.step();
  }

  async step() {
    this.tiles.forEach((tile, place) => tile.classList.toggle("bz-picked", this.chosen.includes(place)));
    const { entry, images } = this;
    const [a, b] = this.chosen.map((place) => images[place]);
    if (!a || !b) return;
    try {
      const size = product(entry.latent_shape);
      const z = await encode(entry, Uint8Array.of(...a, ...b));
      const line = new Float32Array(STEPS * size);
      for (let k = 0; k < STEPS; k++)
        for (let i = 0; i < size; i++) line[k * size + i] = (1 - k / (STEPS - 1)) * z[i] + (k / (STEPS - 1)) * z[size + i];
      const path = await decode(entry, line);
      if (entry !== this.entry) return;
      const pixels = product(entry.shape);
      this.path.forEach((canvas, k) => paint(canvas, entry, path.slice(k * pixels, (k + 1) * pixels)));
      api.walked = this.chosen.join();
    } catch (error) {
      this.fail(error);
    }
  }

  clear() {
    const context = this.pad.getContext("2d", { willReadFrequently: true });
    context.fillStyle = "#000";
    context.fillRect(0, 0, 256, 256);
    paint(this.seen, this.entry, new Uint8Array(product(this.entry.shape)));
    for (const { value, bar, verdict, what } of Object.values(this.meters)) {
      value.textContent = "–";
      bar.firstChild.style.width = "0";
      verdict.textContent = what;
    }
  }

  async judge() {
    const { entry } = this;
    const image = digit(entry, this.pad);
    paint(this.seen, entry, image);
    try {
      const values = await score(entry, image);
      if (entry !== this.entry) return;
      for (const [key, { value, bar, verdict }] of Object.entries(this.meters)) {
        const share = rank(entry.quantiles[key], values[key]);
        value.textContent = values[key].toFixed(2);
        bar.firstChild.style.width = `${100 * share}%`;
        bar.classList.toggle("bz-unusual", share > 0.95);
        verdict.textContent =
          share === 1 ? "more unusual than every test image" : `more unusual than ${Math.floor(100 * share)}% of test images`;
      }
      this.say(`${megabytes(received)} loaded`);
      api.judged = { image: [...image], ...values };
    } catch (error) {
      this.fail(error);
    }
  }

  fail(error) {
    console.error(error);
    api.error = String(error);
    this.say(`This did not work: ${error.message}`);
  }
}

const api = (window.browserZoo = { index, latents, decode, encode, score, rank, firstSample: null });

const root = document.getElementById("browser-zoo");
if (root) {
  index()
    .then((entries) => (api.page = new Page(root, entries)))
    .catch((error) => {
      api.error = String(error);
      const advice = location.protocol === "file:" ? " Serve the folder: python -m http.server." : "";
      root.textContent = `The models do not load (${error.message}).${advice}`;
    });
}
