// A module: strict, with names of its own.

const byId = id => document.getElementById(id);
const root = document.documentElement;
const systemDark = matchMedia('(prefers-color-scheme: dark)');

/** A weight is the square of its code's share of ONE; NOT_A_NUMBER is none. */
const ONE = 65534;
const NOT_A_NUMBER = 65535;

const LABEL_HEIGHT = 13;
const LONGEST_LABEL = 130;
const LARGEST_CELL = 64;
const LARGEST_FIT = 34;
const THUMBNAIL = 56;
const LINE_HEIGHT = 18;
const MOST_LINES = 4000;
const STRONGEST = 8;

let data;
let weights;
let maxima;
let colors;
const state = {
  row: 0, head: 0, view: 'map', theme: 'system', scale: 'own',
  cell: 0, // pixels; 0: the whole map
  cursor: {query: 0, key: 0}, hover: null,
  least: 0.05, lineHeads: new Set([0]), chosen: null,
};

// ---- data ----------------------------------------------------------------------------------

async function inflate(base64) {
  const text = atob(base64);
  const packed = new Uint8Array(text.length);
  for (let n = 0; n < text.length; n++) {
    packed[n] = text.charCodeAt(n);
  }
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** The high bytes of all codes, then the low ones: map after map, row after row. */
function decode(bytes) {
  const count = bytes.length / 2;
  const decoded = new Float32Array(count);
  for (let n = 0; n < count; n++) {
    const code = bytes[n] << 8 | bytes[count + n];
    decoded[n] = code === NOT_A_NUMBER ? NaN : (code / ONE) ** 2;
  }
  return decoded;
}

const mapSize = () => data.mapRows * data.mapColumns;
const mapIndex = (row, head) => row * data.heads.length + head;
const mapOf = (row, head) =>
  weights.subarray(mapIndex(row, head) * mapSize(), (mapIndex(row, head) + 1) * mapSize());
const weightAt = (row, head, query, key) =>
  weights[mapIndex(row, head) * mapSize() + query * data.mapColumns + key];

function largest(map) {
  let most = 0;
  for (let n = 0; n < map.length; n++) {
    if (map[n] > most) {
      most = map[n];
    }
  }
  return most;
}

/** What the largest color stands for. */
const top = (row, head) => state.scale === 'one' ? 1 : maxima[mapIndex(row, head)] || 1;

// ---- words ---------------------------------------------------------------------------------

const shown = weight =>
  Number.isNaN(weight) ? 'NaN' : weight === 0 ? '0' : weight === 1 ? '1' : weight.toPrecision(4);

const visible = token =>
  token.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, c => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'));

/** The first and the last query or key of a cell. */
function range(axis, n) {
  const size = axis === 'query' ? data.seqQ : data.seqK;
  const cells = axis === 'query' ? data.mapRows : data.mapColumns;
  return [Math.floor(n * size / cells), Math.floor((n + 1) * size / cells) - 1];
}

const tokensOf = axis => axis === 'query' ? data.queryTokens : data.keyTokens;

function label(axis, n) {
  const [first, last] = range(axis, n);
  const tokens = tokensOf(axis);
  if (tokens) {
    return first === last ? visible(tokens[first]) : visible(tokens[first]) + ' … ' + visible(tokens[last]);
  }
  return first === last ? String(first) : first + '–' + last;
}

function place(axis, n) {
  const [first, last] = range(axis, n);
  const numbers = first === last ? String(first) : first + '–' + last;
  return tokensOf(axis) ? `${axis} ${numbers} “${label(axis, n)}”` : `${axis} ${numbers}`;
}

const isReduced = () => data.mapRows < data.seqQ || data.mapColumns < data.seqK;
const where = cell => `${place('query', cell.query)} → ${place('key', cell.key)}`;
const what = () => isReduced() ? `${data.reduce} weight` : 'weight';
const mapName = (row, head) =>
  `${data.rowName[0].toUpperCase()}${data.rowName.slice(1)} ${data.rows[row]}, head ${data.heads[head]}`;

// ---- colors --------------------------------------------------------------------------------

const isDark = () => state.theme === 'dark' || state.theme === 'system' && systemDark.matches;
const style = name => getComputedStyle(root).getPropertyValue(name).trim();
const headColor = head => `oklch(var(--stroke) 0.16 ${Math.round(265 + 360 * head / data.heads.length) % 360})`;

function hexColors(hex) {
  const table = new Uint32Array(256);
  for (let n = 0; n < 256; n++) {
    const rgb = parseInt(hex.substr(6 * n, 6), 16);
    table[n] = 0xff000000 | (rgb & 255) << 16 | rgb & 0xff00 | rgb >> 16;
  }
  return table;
}

/** Square roots, so that small weights show as well. */
function colorOf(weight, most) {
  return Number.isNaN(weight)
    ? colors.nan
    : colors.table[Math.min(255, Math.round(255 * Math.sqrt(weight / most)))];
}

function paint(values, columns, rows, most) {
  const image = new ImageData(columns, rows);
  const pixels = new Uint32Array(image.data.buffer);
  for (let n = 0; n < pixels.length; n++) {
    pixels[n] = colorOf(values[n], most);
  }
  return image;
}

function setTheme() {
  root.classList.toggle('dark', isDark());
  const nan = parseInt(style('--nan').slice(1), 16);
  colors = {
    table: hexColors(isDark() ? data.colorsDark : data.colorsLight),
    nan: (0xff000000 | (nan & 255) << 16 | nan & 0xff00 | nan >> 16) >>> 0,
  };
  for (const button of document.querySelectorAll('[data-theme]')) {
    button.setAttribute('aria-pressed', String(button.dataset.theme === state.theme));
  }
  drawAll();
}

// ---- all heads -----------------------------------------------------------------------------

function makeGrid() {
  const grid = byId('grid');
  const columns = data.heads.length;
  const named = data.rows.length > 1 || columns > 1;
  byId('overview').hidden = !named;
  grid.style.gridTemplateColumns = `auto repeat(${columns}, minmax(14px, 1fr))`;
  const cell = (text, title) => {
    const span = document.createElement('span');
    span.textContent = text;
    span.title = title;
    span.setAttribute('aria-hidden', 'true');
    grid.append(span);
  };
  cell('', '');
  data.heads.forEach(head => cell(head, `head ${head}`));
  data.rows.forEach((number, row) => {
    cell(number, `${data.rowName} ${number}`);
    data.heads.forEach((_, head) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.id = `map-${row}-${head}`;
      button.title = mapName(row, head);
      button.setAttribute('aria-label', mapName(row, head));
      button.style.setProperty('--shape', `${data.mapColumns} / ${data.mapRows}`);
      button.append(document.createElement('canvas'));
      button.addEventListener('click', () => choose(row, head));
      grid.append(button);
    });
  });
  grid.addEventListener('keydown', event => {
    const step = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]}[event.key];
    if (step) {
      event.preventDefault();
      choose(
        clamp(state.row + step[0], data.rows.length), clamp(state.head + step[1], columns));
      byId(`map-${state.row}-${state.head}`).focus();
    }
  });
}

const clamp = (n, count) => Math.max(0, Math.min(count - 1, n));

/** The largest weight of several cells stands for them: thin lines would vanish in a mean. */
function thumbnail(map) {
  const columns = Math.min(THUMBNAIL, data.mapColumns);
  const rows = Math.min(THUMBNAIL, data.mapRows);
  const small = new Float32Array(columns * rows);
  for (let query = 0; query < data.mapRows; query++) {
    const to = Math.floor(query * rows / data.mapRows) * columns;
    for (let key = 0; key < data.mapColumns; key++) {
      const at = to + Math.floor(key * columns / data.mapColumns);
      const weight = map[query * data.mapColumns + key];
      if (weight > small[at] || Number.isNaN(weight)) {
        small[at] = weight;
      }
    }
  }
  return {small, columns, rows};
}

function drawGrid() {
  data.rows.forEach((_, row) => data.heads.forEach((_, head) => {
    const button = byId(`map-${row}-${head}`);
    const canvas = button.firstChild;
    const {small, columns, rows} = thumbnail(mapOf(row, head));
    canvas.width = columns;
    canvas.height = rows;
    canvas.style.imageRendering = columns < canvas.clientWidth ? 'pixelated' : 'auto';
    canvas.getContext('2d').putImageData(paint(small, columns, rows, top(row, head)), 0, 0);
  }));
}

function markChosen() {
  data.rows.forEach((_, row) => data.heads.forEach((_, head) => {
    const chosen = row === state.row && head === state.head;
    const button = byId(`map-${row}-${head}`);
    button.setAttribute('aria-pressed', String(chosen));
    button.tabIndex = chosen ? 0 : -1;
  }));
}

// ---- the large map -------------------------------------------------------------------------

/** The chosen map, a pixel for each cell. */
let picture = null;

/** Where the large map lies, as it was drawn last. */
let layout = null;

function makePicture() {
  picture = document.createElement('canvas');
  picture.width = data.mapColumns;
  picture.height = data.mapRows;
  const map = mapOf(state.row, state.head);
  picture.getContext('2d').putImageData(
    paint(map, data.mapColumns, data.mapRows, top(state.row, state.head)), 0, 0);
}

function measure(context, axis) {
  const cells = axis === 'query' ? data.mapRows : data.mapColumns;
  let width = 0;
  for (let n = 0; n < cells; n++) {
    width = Math.max(width, context.measureText(label(axis, n)).width);
  }
  return Math.ceil(Math.min(LONGEST_LABEL, width)) + 10;
}

function arrange(context, box) {
  const left = measure(context, 'query');
  const above = measure(context, 'key');
  const fit = Math.min(
    (box.clientWidth - left - 2) / data.mapColumns, (box.clientHeight - above - 2) / data.mapRows, LARGEST_FIT);
  const cell = Math.max(state.cell, fit, 0.01);
  const width = cell * data.mapColumns;
  const height = cell * data.mapRows;
  const margin = Math.max(0, Math.floor((box.clientWidth - left - width) / 2));
  layout = {left: left + margin, above, cell, fit, width, height};
  byId('map-extent').style.width = `${Math.max(box.clientWidth, Math.floor(layout.left + width + 1))}px`;
  byId('map-extent').style.height = `${Math.max(box.clientHeight, Math.floor(above + height + 1))}px`;
}

function clipped(context, text) {
  if (context.measureText(text).width <= LONGEST_LABEL) {
    return text;
  }
  let length = text.length;
  while (length > 1 && context.measureText(text.slice(0, length) + '…').width > LONGEST_LABEL) {
    length--;
  }
  return text.slice(0, length) + '…';
}

function drawMap() {
  const box = byId('map');
  const canvas = byId('map-canvas');
  if (state.view !== 'map' || box.clientWidth === 0) {
    return;
  }
  const context = canvas.getContext('2d');
  const font = getComputedStyle(document.body).fontFamily;
  context.font = `11px ${font}`;
  arrange(context, box);
  const ratio = devicePixelRatio || 1;
  const width = box.clientWidth;
  const height = box.clientHeight;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  const {left, above, cell} = layout;
  const x0 = left - box.scrollLeft;
  const y0 = above - box.scrollTop;

  context.save();
  context.beginPath();
  context.rect(left, above, width - left, height - above);
  context.clip();
  context.imageSmoothingEnabled = cell < 1;
  context.drawImage(picture, x0, y0, layout.width, layout.height);
  drawCross(context, x0, y0);
  context.restore();
  context.strokeStyle = style('--line');
  context.strokeRect(
    left - 0.5, above - 0.5, Math.min(layout.width, width - left) + 1, Math.min(layout.height, height - above) + 1);
  drawLabels(context, 'query', font, width, height);
  drawLabels(context, 'key', font, width, height);
}

function drawCross(context, x0, y0) {
  const at = state.hover || (document.activeElement === byId('map') ? state.cursor : null);
  if (!at) {
    return;
  }
  const {cell} = layout;
  const side = Math.max(cell, 2);
  context.strokeStyle = isDark() ? '#ffffffb0' : '#00000090';
  context.lineWidth = 1;
  context.strokeRect(x0 + at.key * cell - 0.5, y0 + at.query * cell - 0.5, side + 1, side + 1);
  context.fillStyle = isDark() ? '#ffffff1c' : '#00000012';
  context.fillRect(x0, y0 + at.query * cell, layout.width, side);
  context.fillRect(x0 + at.key * cell, y0, side, layout.height);
}

/** As many labels as there is room for, and the one that is pointed at. */
function drawLabels(context, axis, font, width, height) {
  const box = byId('map');
  const rows = axis === 'query';
  const {left, above, cell} = layout;
  const cells = rows ? data.mapRows : data.mapColumns;
  const begin = rows ? above : left;
  const end = rows ? height : width;
  const scroll = rows ? box.scrollTop : box.scrollLeft;
  const at = state.hover || (document.activeElement === box ? state.cursor : null);
  const marked = at ? at[axis] : -1;
  const step = Math.max(1, Math.ceil(LABEL_HEIGHT / cell));
  context.textBaseline = 'middle';
  context.textAlign = rows ? 'right' : 'left';
  const draw = n => {
    const middle = begin - scroll + (n + 0.5) * cell;
    if (middle < begin - 1 || middle > end + 1) {
      return;
    }
    const text = clipped(context, label(axis, n));
    context.save();
    if (rows) {
      context.translate(left - 6, middle);
    } else {
      context.translate(middle, above - 6);
      context.rotate(-Math.PI / 2);
    }
    if (n === marked) {
      const size = context.measureText(text).width;
      context.fillStyle = style('--accent');
      context.beginPath();
      context.roundRect(rows ? -size - 4 : -4, -8, size + 8, 16, 4);
      context.fill();
      context.fillStyle = style('--panel');
    } else {
      context.fillStyle = style('--soft');
    }
    context.fillText(text, 0, 0.5);
    context.restore();
  };
  context.font = `11px ${font}`;
  for (let n = 0; n < cells; n += step) {
    if (marked < 0 || n === marked || Math.abs(n - marked) * cell >= LABEL_HEIGHT) {
      draw(n);
    }
  }
  if (marked >= 0) {
    context.font = `600 11px ${font}`;
    draw(marked);
  }
}

function cellAt(event) {
  if (!layout) {
    return null;
  }
  const box = byId('map');
  const bounds = byId('map-canvas').getBoundingClientRect();
  const x = event.clientX - bounds.left;
  const y = event.clientY - bounds.top;
  if (x < layout.left || y < layout.above) {
    return null;
  }
  const key = Math.floor((x - layout.left + box.scrollLeft) / layout.cell);
  const query = Math.floor((y - layout.above + box.scrollTop) / layout.cell);
  return key < data.mapColumns && query < data.mapRows ? {query, key} : null;
}

function showCell(cell) {
  byId('readout').textContent =
    `${what()} ${shown(weightAt(state.row, state.head, cell.query, cell.key))}: ${where(cell)}`;
  showStrongest(cell.query);
}

function showTip(event, cell) {
  const tip = byId('tip');
  tip.hidden = !cell;
  if (!cell) {
    return;
  }
  byId('tip-weight').textContent = shown(weightAt(state.row, state.head, cell.query, cell.key));
  byId('tip-where').textContent = where(cell);
  const right = event.clientX + 16 + tip.offsetWidth > innerWidth;
  const below = event.clientY + 16 + tip.offsetHeight > innerHeight;
  tip.style.left = `${right ? event.clientX - 12 - tip.offsetWidth : event.clientX + 16}px`;
  tip.style.top = `${below ? event.clientY - 12 - tip.offsetHeight : event.clientY + 16}px`;
}

function zoom(factor) {
  const box = byId('map');
  const {left, above, cell, fit} = layout;
  const to = factor === 0 ? 0 : Math.min(LARGEST_CELL, Math.max(fit, cell * factor));
  const x = (box.scrollLeft + (box.clientWidth - left) / 2) / cell;
  const y = (box.scrollTop + (box.clientHeight - above) / 2) / cell;
  state.cell = to <= fit ? 0 : to;
  drawMap();
  box.scrollLeft = x * layout.cell - (box.clientWidth - layout.left) / 2;
  box.scrollTop = y * layout.cell - (box.clientHeight - layout.above) / 2;
  drawMap();
}

/** Scrolls until the cursor is seen. */
function reveal() {
  const box = byId('map');
  const {left, above, cell} = layout;
  const x = state.cursor.key * cell;
  const y = state.cursor.query * cell;
  box.scrollLeft = Math.min(x, Math.max(box.scrollLeft, x + cell - (box.clientWidth - left)));
  box.scrollTop = Math.min(y, Math.max(box.scrollTop, y + cell - (box.clientHeight - above)));
}

function listenToMap() {
  const box = byId('map');
  const canvas = byId('map-canvas');
  canvas.addEventListener('pointermove', event => {
    state.hover = cellAt(event);
    showTip(event, state.hover);
    showCell(state.hover || state.cursor);
    drawMap();
  });
  canvas.addEventListener('pointerleave', () => {
    state.hover = null;
    showTip(null, null);
    showCell(state.cursor);
    drawMap();
  });
  canvas.addEventListener('click', event => {
    const cell = cellAt(event);
    if (cell) {
      state.cursor = cell;
      showCell(cell);
      drawMap();
    }
  });
  box.addEventListener('keydown', event => {
    const step = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]}[event.key];
    if (step) {
      event.preventDefault();
      state.hover = null;
      byId('tip').hidden = true;
      state.cursor = {
        query: clamp(state.cursor.query + step[0], data.mapRows),
        key: clamp(state.cursor.key + step[1], data.mapColumns),
      };
      reveal();
      showCell(state.cursor);
      drawMap();
    } else if (event.key === '+' || event.key === '-') {
      zoom(event.key === '+' ? 1.3 : 1 / 1.3);
    }
  });
  box.addEventListener('wheel', event => {
    if (event.ctrlKey) {
      event.preventDefault();
      zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15);
    }
  }, {passive: false});
  for (const type of ['scroll', 'focus', 'blur']) {
    box.addEventListener(type, drawMap);
  }
  byId('zoom-in').addEventListener('click', () => zoom(1.5));
  byId('zoom-out').addEventListener('click', () => zoom(1 / 1.5));
  byId('zoom-fit').addEventListener('click', () => zoom(0));
}

function drawLegend() {
  const most = top(state.row, state.head);
  byId('legend-end').textContent = shown(most);
  const canvas = byId('legend').querySelector('canvas');
  const shades = Float32Array.from({length: canvas.width}, (_, n) => (n / (canvas.width - 1)) ** 2);
  canvas.getContext('2d').putImageData(paint(shades, canvas.width, 1, 1), 0, 0);
  canvas.title = 'Colors go by the square root of the weight';
  byId('legend-end').classList.toggle('nan', mapOf(state.row, state.head).some(Number.isNaN));
}

// ---- the strongest of a query --------------------------------------------------------------

function showStrongest(query) {
  const list = [];
  for (let key = 0; key < data.mapColumns; key++) {
    const weight = weightAt(state.row, state.head, query, key);
    if (weight > 0) {
      list.push({key, weight});
    }
  }
  list.sort((a, b) => b.weight - a.weight || a.key - b.key);
  byId('strongest-of').textContent = `${place('query', query)} attends to`;
  const most = list.length ? list[0].weight : 0;
  byId('strongest').replaceChildren(...list.slice(0, STRONGEST).map(one => {
    const item = document.createElement('li');
    const token = document.createElement('bdi');
    token.className = 'token';
    token.textContent = label('key', one.key);
    token.title = place('key', one.key);
    const amount = document.createElement('span');
    amount.className = 'amount';
    amount.style.width = `${100 * one.weight / most}%`;
    const number = document.createElement('span');
    number.className = 'number';
    number.textContent = shown(one.weight);
    item.append(token, amount, number);
    return item;
  }));
}

// ---- lines ---------------------------------------------------------------------------------

const svg = (name, attributes) => {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name);
  Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
  return element;
};

function makeLineHeads() {
  byId('line-heads').replaceChildren(...data.heads.map((number, head) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = number;
    button.title = `Head ${number}: with or without its lines`;
    button.setAttribute('aria-label', `head ${number}`);
    button.style.setProperty('--color', headColor(head));
    button.addEventListener('click', () => {
      if (!state.lineHeads.delete(head)) {
        state.lineHeads.add(head);
      }
      drawLines();
    });
    return button;
  }));
  byId('line-heads').hidden = data.heads.length < 2;
}

function chosenLines() {
  const lines = [];
  for (const head of state.lineHeads) {
    const map = mapOf(state.row, head);
    for (let n = 0; n < map.length; n++) {
      if (map[n] >= state.least) {
        const query = Math.floor(n / data.mapColumns);
        lines.push({head, query, key: n - query * data.mapColumns, weight: map[n]});
      }
    }
  }
  return lines.sort((a, b) => b.weight - a.weight);
}

const lineY = n => 34 + (n + 0.5) * LINE_HEIGHT;
let lineLeft = 0;
let lineRight = 0;

function linePath(line) {
  const y1 = lineY(line.query);
  const y2 = lineY(line.key);
  const middle = (lineLeft + lineRight) / 2;
  return svg('path', {
    d: `M${lineLeft} ${y1}C${middle} ${y1} ${middle} ${y2} ${lineRight} ${y2}`,
    'stroke-width': (0.6 + 2 * Math.sqrt(line.weight)).toFixed(2),
    style: `stroke: ${headColor(line.head)}; stroke-opacity: ${(0.1 + 0.7 * Math.sqrt(line.weight)).toFixed(3)}`,
  });
}

function drawLines() {
  if (state.view !== 'lines') {
    return;
  }
  [...byId('line-heads').children].forEach((button, head) =>
    button.setAttribute('aria-pressed', String(state.lineHeads.has(head))));
  byId('least-value').textContent = state.least.toPrecision(2);
  const picture = byId('lines');
  const context = document.createElement('canvas').getContext('2d');
  context.font = `13px ${getComputedStyle(document.body).fontFamily}`;
  const queryWidth = measure(context, 'query');
  const keyWidth = measure(context, 'key') + 56;
  const width = Math.max(420, Math.min(760, byId('lines-scroll').clientWidth - 20));
  lineLeft = queryWidth + 8;
  lineRight = width - keyWidth - 8;
  const height = 34 + Math.max(data.mapRows, data.mapColumns) * LINE_HEIGHT + 8;
  picture.setAttribute('width', width);
  picture.setAttribute('height', height);
  picture.setAttribute('viewBox', `0 0 ${width} ${height}`);

  const all = chosenLines();
  const lines = all.slice(0, MOST_LINES).reverse();
  const faint = svg('g', {class: 'faint', id: 'line-paths'});
  faint.append(...lines.map(linePath));
  const texts = svg('g', {});
  const title = (x, anchor, text) => {
    const element = svg('text', {x, y: 16, 'text-anchor': anchor, class: 'head'});
    element.textContent = text;
    texts.append(element);
  };
  title(lineLeft - 8, 'end', 'queries');
  title(lineRight + 8, 'start', 'keys');
  const side = (axis, cells, x, anchor, boxX, boxWidth) => {
    for (let n = 0; n < cells; n++) {
      const group = svg('g', {class: 'token', 'data-axis': axis, 'data-n': n});
      group.append(svg('rect', {x: boxX, y: lineY(n) - LINE_HEIGHT / 2, width: boxWidth, height: LINE_HEIGHT}));
      const text = svg('text', {x, y: lineY(n), 'text-anchor': anchor});
      text.textContent = clipped(context, label(axis, n));
      const tip = svg('title', {});
      tip.textContent = place(axis, n);
      group.append(tip, text);
      texts.append(group);
    }
  };
  side('query', data.mapRows, lineLeft - 8, 'end', 2, lineLeft - 4);
  side('key', data.mapColumns, lineRight + 8, 'start', lineRight + 2, width - lineRight - 4);
  picture.replaceChildren(faint, svg('g', {id: 'focused-paths'}), texts);
  byId('line-count').textContent = all.length > MOST_LINES
    ? `the ${MOST_LINES} strongest of ${all.length} lines`
    : `${all.length} line${all.length === 1 ? '' : 's'}`;
  focusToken(state.chosen);
}

/** All lines of one token, whatever their weight, with the weights as numbers. */
function focusToken(token) {
  const picture = byId('lines');
  const paths = byId('focused-paths');
  if (!paths) {
    return;
  }
  picture.classList.toggle('focused', token !== null);
  picture.querySelectorAll('.number').forEach(element => element.remove());
  picture.querySelectorAll('.token').forEach(group => {
    group.firstChild.removeAttribute('style');
    group.classList.toggle(
      'chosen', token !== null && group.dataset.axis === token.axis && Number(group.dataset.n) === token.n);
  });
  if (token === null) {
    paths.replaceChildren();
    return;
  }
  const other = token.axis === 'query' ? 'key' : 'query';
  const cells = other === 'key' ? data.mapColumns : data.mapRows;
  const lines = [];
  const most = new Float32Array(cells);
  for (const head of state.lineHeads) {
    for (let n = 0; n < cells; n++) {
      const line = {head, [token.axis]: token.n, [other]: n};
      line.weight = weightAt(state.row, head, line.query, line.key);
      if (line.weight > 0) {
        lines.push(line);
        most[n] = Math.max(most[n], line.weight);
      }
    }
  }
  lines.sort((a, b) => a.weight - b.weight);
  paths.replaceChildren(...lines.map(linePath));
  picture.querySelectorAll(`.token[data-axis="${other}"]`).forEach(group => {
    const weight = most[Number(group.dataset.n)];
    group.firstChild.style.fill = `color-mix(in oklch, var(--accent) ${Math.round(70 * Math.sqrt(weight))}%, transparent)`;
    if (weight >= 0.005 && other === 'key') {
      const number = svg('text', {
        class: 'number head', x: Number(picture.getAttribute('width')) - 8, y: lineY(Number(group.dataset.n)), 'text-anchor': 'end',
      });
      number.textContent = shown(weight);
      group.append(number);
    }
  });
  if (token.axis === 'query') {
    showStrongest(token.n);
  }
}

function listenToLines() {
  const picture = byId('lines');
  const tokenOf = event => {
    const group = event.target.closest('.token');
    return group ? {axis: group.dataset.axis, n: Number(group.dataset.n)} : null;
  };
  picture.addEventListener('pointerover', event => focusToken(tokenOf(event) || state.chosen));
  picture.addEventListener('pointerleave', () => focusToken(state.chosen));
  picture.addEventListener('click', event => {
    const token = tokenOf(event);
    const same = token && state.chosen && token.axis === state.chosen.axis && token.n === state.chosen.n;
    state.chosen = same ? null : token;
    focusToken(state.chosen);
  });
  byId('least').addEventListener('input', event => {
    state.least = 10 ** (event.target.value * 3 / 100 - 3);
    drawLines();
  });
}

// ---- the page ------------------------------------------------------------------------------

function choose(row, head) {
  state.row = row;
  state.head = head;
  state.lineHeads = new Set([head]);
  drawChosen();
  remember();
}

function drawChosen() {
  byId('head-title').textContent = mapName(state.row, state.head);
  document.title = `${mapName(state.row, state.head)} – ${data.title}`;
  markChosen();
  makePicture();
  drawMap();
  drawLegend();
  if (mapSize() > 0) {
    showCell(state.hover || state.cursor);
  }
  drawLines();
}

function drawAll() {
  drawGrid();
  drawChosen();
}

function setView(view) {
  state.view = view;
  for (const name of ['map', 'lines']) {
    const chosen = name === view;
    byId(`${name}-view`).hidden = !chosen;
    byId(`${name}-tab`).setAttribute('aria-selected', String(chosen));
    byId(`${name}-tab`).tabIndex = chosen ? 0 : -1;
  }
  byId('zoom').hidden = view !== 'map';
  drawMap();
  drawLines();
}

/** What is looked at stands behind the # of the address, so that it can be kept. */
function remember() {
  const words = new URLSearchParams({
    [data.rowName]: data.rows[state.row], head: data.heads[state.head], view: state.view, theme: state.theme,
  });
  try {
    history.replaceState(null, '', `#${words}`);
  } catch {
    // a browser that keeps addresses of files as they are
  }
}

function recall() {
  const words = new URLSearchParams(location.hash.slice(1));
  state.row = Math.max(0, data.rows.indexOf(Number(words.get(data.rowName) ?? -1)));
  state.head = Math.max(0, data.heads.indexOf(Number(words.get('head') ?? -1)));
  state.lineHeads = new Set([state.head]);
  state.theme = ['light', 'dark'].find(name => name === words.get('theme')) || 'system';
  return words.get('view') === 'lines' ? 'lines' : 'map';
}

function listen() {
  listenToMap();
  listenToLines();
  for (const button of document.querySelectorAll('[data-theme]')) {
    button.addEventListener('click', () => {
      state.theme = button.dataset.theme;
      setTheme();
      remember();
    });
  }
  for (const name of ['map', 'lines']) {
    byId(`${name}-tab`).addEventListener('click', () => {
      setView(name);
      remember();
    });
    byId(`${name}-tab`).addEventListener('keydown', event => {
      if (event.key === 'ArrowLeft' || event.key === 'ArrowRight') {
        setView(state.view === 'map' ? 'lines' : 'map');
        byId(`${state.view}-tab`).focus();
        remember();
      }
    });
  }
  byId('scale').addEventListener('change', event => {
    state.scale = event.target.value;
    drawAll();
  });
  systemDark.addEventListener('change', setTheme);
  addEventListener('resize', () => {
    drawMap();
    drawLines();
  });
}

async function open() {
  data = JSON.parse(byId('data').textContent);
  for (const fact of data.facts) {
    const span = document.createElement('span');
    span.textContent = fact;
    byId('facts').append(span);
  }
  byId('text').textContent = data.text || '';
  byId('text').hidden = !data.text;
  byId('precision').textContent = data.precision;
  weights = decode(await inflate(byId('weights').textContent));
  byId('weights').remove();
  maxima = [];
  for (let n = 0; n < data.rows.length * data.heads.length; n++) {
    maxima.push(largest(weights.subarray(n * mapSize(), (n + 1) * mapSize())));
  }
  byId('least').value = String(100 / 3 * (Math.log10(state.least) + 3));
  document.querySelector('main').hidden = false;
  const view = recall();
  makeGrid();
  makeLineHeads();
  listen();
  setTheme();
  setView(view);
  byId(`map-${state.row}-${state.head}`).focus({preventScroll: true});
  performance.mark('ready');
  root.dataset.ready = 'true';
}

open().catch(error => {
  byId('failure').textContent = `This page cannot be drawn: ${error.message}`;
  byId('failure').hidden = false;
  console.error(error);
});
