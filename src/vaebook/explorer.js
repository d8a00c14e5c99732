// A decoder that runs in the page: no library, no request, no global name.
//
// explorer.py puts this file into one function per figure and calls start() at its end.
// Three parts, each of use without those after it: numbers from text, the decoder's layers,
// and the plane that a reader moves a point in.

// ---- Numbers from text --------------------------------------------------------------

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

// The 16 bits of a float16: a sign, 5 bits of exponent, 10 of fraction.
function fromHalf(bits) {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  const size = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
  return bits & 0x8000 ? -size : size;
}

// A packed array is {type, scale, data}: little-endian numbers, to be multiplied by scale.
function unpack({ type, scale, data }) {
  const bytes = bytesOf(data);
  const view = new DataView(bytes.buffer);
  const wide = type === "float32" ? 4 : 2;
  const numbers = new Float32Array(bytes.length / wide);
  for (let i = 0; i < numbers.length; i++) {
    const number =
      wide === 4 ? view.getFloat32(4 * i, true) : fromHalf(view.getUint16(2 * i, true));
    numbers[i] = scale * number;
  }
  return numbers;
}

// ---- The decoder's layers -----------------------------------------------------------
// Images are flat arrays in Keras's order: row, column, channel.

const ACTIVATIONS = {
  linear: (x) => x,
  relu: (x) => Math.max(x, 0),
  leaky_relu: (x, slope) => (x < 0 ? slope * x : x),
  selu: (x) => 1.0507009873554805 * (x < 0 ? 1.6732632423543772 * Math.expm1(x) : x),
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
};

const LAYERS = {
  // kernel: (inputs, units)
  dense(x, { units, kernel, bias }) {
    const y = Float64Array.from(bias);
    for (let i = 0, k = 0; i < x.length; i++) {
      for (let unit = 0; unit < units; unit++) y[unit] += x[i] * kernel[k++];
    }
    return Float32Array.from(y);
  },

  // kernel: (rows, columns, filters, inputs). Each pixel of x adds its multiple of the kernel
  // to y; "same" padding cuts what lies over the edges, the odd row or column at the end.
  conv_transpose(x, { shape, filters, size, strides, kernel, bias }) {
    const [height, width, inputs] = shape;
    const rows = height * strides[0];
    const columns = width * strides[1];
    const top = Math.floor(Math.max(size[0] - strides[0], 0) / 2);
    const left = Math.floor(Math.max(size[1] - strides[1], 0) / 2);
    const y = new Float32Array(rows * columns * filters);
    for (let i = 0; i < y.length; i += filters) y.set(bias, i);
    for (let pixel = 0; pixel < height * width; pixel++) {
      const from = pixel * inputs;
      for (let a = 0; a < size[0]; a++) {
        const row = Math.floor(pixel / width) * strides[0] + a - top;
        if (row < 0 || row >= rows) continue;
        for (let b = 0; b < size[1]; b++) {
          const column = (pixel % width) * strides[1] + b - left;
          if (column < 0 || column >= columns) continue;
          const to = (row * columns + column) * filters;
          let k = (a * size[1] + b) * filters * inputs;
          let filter = 0;
          // Four sums at a time do not wait for each other: half the time of one by one.
          for (; filter + 4 <= filters; filter += 4) {
            const [k1, k2, k3] = [k + inputs, k + 2 * inputs, k + 3 * inputs];
            let [sum, sum1, sum2, sum3] = [0, 0, 0, 0];
            for (let i = 0; i < inputs; i++) {
              const value = x[from + i];
              sum += value * kernel[k + i];
              sum1 += value * kernel[k1 + i];
              sum2 += value * kernel[k2 + i];
              sum3 += value * kernel[k3 + i];
            }
            y[to + filter] += sum;
            y[to + filter + 1] += sum1;
            y[to + filter + 2] += sum2;
            y[to + filter + 3] += sum3;
            k += 4 * inputs;
          }
          for (; filter < filters; filter++) {
            let sum = 0;
            for (let i = 0; i < inputs; i++) sum += x[from + i] * kernel[k++];
            y[to + filter] += sum;
          }
        }
      }
    }
    return y;
  },

  // Batch normalisation as it is after training: a factor and an offset for each channel.
  normalise: (x, { factor, offset }) =>
    x.map((value, i) => value * factor[i % factor.length] + offset[i % factor.length]),

  activation: (x, { name, slope }) => x.map((value) => ACTIVATIONS[name](value, slope)),
};

// Return the function from z, one number per latent variable, to an image.
function decoderOf(layers) {
  const packed = ["kernel", "bias", "factor", "offset"];
  const ready = layers.map((layer) => {
    const entries = Object.entries(layer);
    return Object.fromEntries(
      entries.map(([key, value]) => [key, packed.includes(key) ? unpack(value) : value]),
    );
  });
  return (z) => ready.reduce((x, layer) => LAYERS[layer.kind](x, layer), Float32Array.from(z));
}

// Draw an image of one channel or three on a canvas of its size.
function paint(canvas, values) {
  const context = canvas.getContext("2d");
  const picture = context.createImageData(canvas.width, canvas.height);
  const channels = values.length / (canvas.width * canvas.height);
  for (let pixel = 0; pixel < picture.data.length / 4; pixel++) {
    for (let colour = 0; colour < 3; colour++) {
      const channel = channels === 3 ? colour : 0;
      picture.data[4 * pixel + colour] = 255 * values[pixel * channels + channel];
    }
    picture.data[4 * pixel + 3] = 255;
  }
  context.putImageData(picture, 0, 0);
}

// ---- The plane ----------------------------------------------------------------------

// A true minus sign, which screen readers say and a hyphen is not.
function spoken(number, digits = 2) {
  const text = Math.abs(number).toFixed(digits);
  return (number < 0 && Number(text) !== 0 ? "\u2212" : "") + text;
}

function start(script, given) {
  const waiting = document.querySelectorAll(".vaebook-explorer:not([data-live])");
  const root = (script && script.closest(".vaebook-explorer")) || waiting[waiting.length - 1];
  const find = (name) => root.querySelector(`.vaebook-explorer-${name}`);
  const [plane, map, point, image, where] =
    ["plane", "map", "point", "image", "where"].map(find);
  const sliders = [...root.querySelectorAll("input")];
  const choices = [...root.querySelectorAll("select")];
  const [headings, values, markers] = ["name", "value", "marker"].map((name) => [
    ...root.querySelectorAll(`.vaebook-explorer-${name}`),
  ]);

  const { at, spans, size, shapes, labels } = given;
  const decode = decoderOf(given.layers);
  const codes = given.codes && unpack(given.codes);
  const count = codes ? codes.length / at.length : 0;
  const names = markers.map((marker) => marker.dataset.name);
  const shown = [...given.shown]; // which variable runs across, which one up
  const z = [...at];

  const share = (axis, value) => {
    const [low, high] = spans[shown[axis]];
    return (value - low) / (high - low);
  };

  function nearest() {
    let best = Infinity;
    let found = 0;
    for (let i = 0; i < count; i++) {
      let distance = 0;
      for (let j = 0; j < z.length; j++) distance += (codes[i * z.length + j] - z[j]) ** 2;
      if (distance < best) [best, found] = [distance, i];
    }
    return found;
  }

  function drawMap() {
    const side = plane.clientWidth;
    if (!side) return; // folded away; the observer calls again when it is seen
    const dots = window.devicePixelRatio || 1;
    map.width = map.height = Math.round(side * dots);
    const context = map.getContext("2d");
    context.scale(dots, dots);
    const style = getComputedStyle(plane);
    context.strokeStyle = context.fillStyle = style.color;

    context.globalAlpha = 0.35;
    const [x0, y0] = [share(0, 0) * side, (1 - share(1, 0)) * side];
    context.beginPath();
    context.moveTo(x0, 0);
    context.lineTo(x0, side);
    context.moveTo(0, y0);
    context.lineTo(side, y0);
    context.stroke();

    context.textAlign = "center";
    context.textBaseline = "middle";
    context.globalAlpha = 0.8;
    const paths = shapes && shapes.map((shape) => new Path2D(shape));
    const colours = markers.map((marker) => getComputedStyle(marker).color);
    const dot = new Path2D("M-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0z");
    context.font = `bold ${Math.max(9, side / 30)}px sans-serif`;
    for (let i = 0; i < count; i++) {
      const x = share(0, codes[i * z.length + shown[0]]) * side;
      const y = (1 - share(1, codes[i * z.length + shown[1]])) * side;
      if (labels) context.fillStyle = colours[labels[i]];
      if (labels && !paths) {
        context.fillText(names[labels[i]], x, y);
        continue;
      }
      context.save();
      context.translate(x, y);
      context.fill(paths ? paths[labels[i]] : dot);
      context.restore();
    }

    // The axes' names and ends, each on a ground of its own, above the codes.
    context.globalAlpha = 1;
    context.font = "12px sans-serif";
    const write = (text, x, y) => {
      const half = context.measureText(text).width / 2 + 3;
      const middle = Math.min(Math.max(x, half), side - half);
      context.fillStyle = style.backgroundColor;
      context.fillRect(middle - half, y - 8, 2 * half, 16);
      context.fillStyle = style.color;
      context.fillText(text, middle, y);
    };
    const ends = shown.map((variable) => spans[variable].map((end) => spoken(end, 1)));
    write(ends[0][0], 0, side - 9);
    write(`z[${shown[0]}] \u2192`, side / 2, side - 9);
    write(ends[0][1], side, side - 9);
    write(ends[1][0], 0, side - 27);
    write(`z[${shown[1]}] \u2191`, 0, side / 2);
    write(ends[1][1], 0, 9);
  }

  function say() {
    const position = shown.map((variable) => `z[${variable}] = ${spoken(z[variable])}`);
    const words = [`${position.join(", ")}.`];
    if (labels) words.push(`Nearest encoded image: ${names[labels[nearest()]]}.`);
    if (where.textContent !== words.join(" ")) where.textContent = words.join(" ");
  }

  // The picture follows at the next frame; the live text waits until the point rests, so
  // that a screen reader is not flooded.
  let frame = 0;
  let rest = 0;
  function update() {
    shown.forEach((variable, axis) => {
      const value = z[variable];
      sliders[axis].value = value;
      sliders[axis].setAttribute("aria-valuetext", spoken(value));
      values[axis].textContent = spoken(value);
    });
    point.style.left = `${100 * share(0, z[shown[0]])}%`;
    point.style.top = `${100 - 100 * share(1, z[shown[1]])}%`;
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(() => paint(image, decode(z)));
    clearTimeout(rest);
    rest = setTimeout(say, 400);
  }

  function move(axis, value) {
    const [low, high] = spans[shown[axis]];
    z[shown[axis]] = Math.min(Math.max(value, low), high);
  }

  function showAxes() {
    shown.forEach((variable, axis) => {
      const [low, high] = spans[variable];
      const slider = sliders[axis];
      [slider.min, slider.max, slider.step] = [low, high, (high - low) / 200];
      headings[axis].textContent = `z[${variable}]`;
      if (choices.length) choices[axis].value = variable;
    });
    drawMap();
    update();
  }

  function follow(event) {
    const box = map.getBoundingClientRect();
    [(event.clientX - box.left) / box.width, 1 - (event.clientY - box.top) / box.height].forEach(
      (part, axis) => {
        const [low, high] = spans[shown[axis]];
        move(axis, low + part * (high - low));
      },
    );
    update();
  }

  plane.addEventListener("pointerdown", (event) => {
    plane.setPointerCapture(event.pointerId);
    follow(event);
  });
  plane.addEventListener("pointermove", (event) => {
    if (plane.hasPointerCapture(event.pointerId)) follow(event);
  });
  plane.addEventListener("keydown", (event) => {
    const directions = {
      ArrowLeft: [0, -1],
      ArrowRight: [0, 1],
      ArrowDown: [1, -1],
      ArrowUp: [1, 1],
    };
    const direction = directions[event.key];
    if (!direction || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault(); // the page stays where it is
    event.stopPropagation(); // a notebook does not change cells, nor a book its page
    const [axis, sign] = direction;
    const [low, high] = spans[shown[axis]];
    move(axis, z[shown[axis]] + (sign * (high - low) * (event.shiftKey ? 10 : 2)) / 100);
    update();
  });
  sliders.forEach((slider, axis) => {
    slider.addEventListener("input", () => {
      move(axis, Number(slider.value));
      update();
    });
    slider.addEventListener("keydown", (event) => event.stopPropagation());
  });
  choices.forEach((choice, axis) =>
    choice.addEventListener("change", () => {
      const variable = Number(choice.value);
      if (variable === shown[1 - axis]) shown[1 - axis] = shown[axis];
      shown[axis] = variable;
      showAxes();
    }),
  );
  root.querySelector("button").addEventListener("click", () => {
    at.forEach((value, variable) => (z[variable] = value));
    update();
  });

  root.dataset.live = "";
  find("still").hidden = true;
  find("live").hidden = false;
  [image.height, image.width] = size;
  root.decode = decode; // for a page's own scripts, and for the tests
  showAxes();
  say();

  // Draw the map again in another size, or in the colours of another theme.
  new ResizeObserver(drawMap).observe(plane);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawMap);
  const themes = new MutationObserver(drawMap);
  const attributeFilter = ["class", "data-theme", "theme", "data-jp-theme-light"];
  for (const element of [document.documentElement, document.body]) {
    themes.observe(element, { attributeFilter });
  }
}
