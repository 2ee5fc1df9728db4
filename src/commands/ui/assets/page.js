// Draws what the program tells. Every name is set as text (textContent); the browser refuses markup besides (Trusted Types).
'use strict';

const at = (id) => document.getElementById(id);
const setText = (element, text) => { if (element.textContent !== text) element.textContent = text; };
const make = (name, text, className) => {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
};
const ms = (us) => us === null || us === undefined ? '–' : `${(us / 1000).toFixed(2)} ms`;
const age = (time) => {
  if (!time) return '?';
  const s = Math.max(0, Math.floor((Date.now() - Date.parse(time)) / 1000));
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  return s < 172800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} d`;
};
const podTime = (s) => s < 7200 ? `${s} pod s` : `${(s / 3600).toFixed(1)} pod h`;
const count = (n, word) => `${n} ${word}${n === 1 ? '' : 's'}`;

let state = null;
let source = null;
let heard = 0;
let retry = 0;
let chosen = decodeURIComponent(location.hash.slice(1)) || null;
const cell = { column: 0, member: 0, shown: false };
const nodes = { from: 0, total: 0, asked: 0, drawn: '' };

// Rows are kept and only what differs is written, so that a reader's place and a selection stay.
function table(id, heads, rows) {
  const [head, body] = at(id).children;
  if (head.dataset.heads !== heads.join('\n')) {
    const row = make('tr');
    for (const text of heads) { const th = make('th', text); th.scope = 'col'; row.append(th); }
    head.replaceChildren(row);
    head.dataset.heads = heads.join('\n');
    body.replaceChildren();
  }
  while (body.rows.length > rows.length) body.lastElementChild.remove();
  rows.forEach((cells, index) => {
    let row = body.rows[index];
    if (!row) { row = make('tr'); cells.forEach(() => row.append(make('td'))); body.append(row); }
    cells.forEach((text, column) => setText(row.cells[column], text));
  });
  at(id).parentElement.hidden = rows.length === 0;
}

function list(id, items) {
  const parent = at(id);
  while (parent.children.length > items.length) parent.lastElementChild.remove();
  items.forEach(({ text, className }, index) => {
    let item = parent.children[index];
    if (!item) { item = make('li'); parent.append(item); }
    setText(item, text);
    item.className = className || '';
  });
}

function connection() {
  const silent = heard && Date.now() - heard > 15000;
  const fine = source && source.readyState === EventSource.OPEN && !silent;
  setText(at('connection'), fine ? 'live' : 'the program that serves this page doesn\'t answer: trying again; what is shown is old');
  const alerts = [];
  if (state) {
    if (state.warning) alerts.push(state.warning);
    for (const it of state.unseen) {
      if (it.why === 'it is being read') alerts.push(`Reading: ${it.kind} …`);
      else alerts.push(`The API server doesn't tell of ${it.kind} since ${age(it.since)}: ${it.why}. ${it.never ? 'Nothing is known of it.' : 'What is shown of it is as it was.'}`);
    }
  }
  const parent = at('alerts');
  while (parent.children.length > alerts.length) parent.lastElementChild.remove();
  alerts.forEach((text, index) => {
    if (!parent.children[index]) parent.append(make('p'));
    setText(parent.children[index], text);
  });
}

function databases() {
  const select = at('databases');
  const names = state.databases.map((it) => it.name);
  if ([...select.options].map((it) => it.value).join('\n') !== names.join('\n')) {
    select.replaceChildren(...names.map((name) => { const option = make('option', name); option.value = name; return option; }));
  }
  if (state.database) select.value = state.database.name;
  select.disabled = names.length < 2;
}

function now(it) {
  const known = it.conditions.some((c) => c.type === 'PrimaryKnown' && c.status === 'True');
  const doubt = known ? '' : ' (last known; not confirmed now)';
  const deleted = it.deleted ? ' · deleted' : '';
  setText(at('primary'), it.error ? it.error : it.primary ? `Primary: ${it.primary}${doubt}${it.timeline ? `, timeline ${it.timeline}` : ''}${deleted}` : 'No primary found yet');
  setText(at('message'), it.message || '');
  const moving = it.conditions.find((c) => c.type === 'Moving');
  setText(at('movement'), (it.paused ? 'Paused. ' : '') + (moving ? `Movement: ${moving.reason}: ${moving.message}` : ''));
  at('progress-box').hidden = it.percent === null;
  if (it.percent !== null) {
    at('progress').value = it.percent;
    setText(at('progress-text'), `${it.percent} %: ${it.progressSentence}`);
  }
  const p = it.pods;
  list('pods', [['near', p.closely], ['intermediate', p.intermediate], ['far', p.far], ['on nodes without a tier', p.unknown], ['without a node', p.waiting]]
    .filter(([, n], index) => n > 0 || index === 0).map(([word, n]) => ({ text: `${count(n, 'pod')} ${word}` })));
}

function zones(it) {
  const home = it.members.find((m) => m.primary);
  list('zones', it.zones.map((zone) => {
    const here = it.members.filter((m) => m.zone === zone.name);
    const names = here.map((m) => m.primary ? `★ ${m.name} (primary)` : m.former ? `${m.name} (primary before)` : m.name);
    const tiers = [['near', zone.closely], ['intermediate', zone.intermediate], ['far', zone.far], ['without a tier', zone.unknown], ['not ready', zone.notReady]]
      .filter(([, n]) => n > 0).map(([word, n]) => `${n} ${word}`).join(', ');
    const text = `${zone.name || 'no zone'}: ${names.join(', ') || 'no member'}. ${count(zone.nodes, 'node')} (${tiers}), ${count(zone.pods, 'pod')}`;
    return { text, className: home && home.zone === zone.name ? 'here' : '' };
  }));
  const more = it.zonesTotal - it.zones.length;
  setText(at('zones-more'), more > 0 ? `${it.zonesTotal} zones in all; the smallest are taken together.` : '');
}

// Near to far on a logarithmic scale, between what is nearest and what is farthest.
function range(it) {
  let low = Infinity;
  let high = 0;
  for (const column of it.heat.columns) for (const us of column.rttUs) if (us !== null) { low = Math.min(low, us); high = Math.max(high, us); }
  return { low: Math.max(1, low), high: Math.max(high, low * 1.5, 2) };
}
function shade(us, { low, high }, near, far) {
  return mix(Math.min(1, Math.max(0, Math.log(us / low) / Math.log(high / low))), near, far);
}
// Of two colours as the style sheet writes them: #rrggbb.
function mix(part, near, far) {
  const parts = [1, 3, 5].map((at) => {
    const [a, b] = [near, far].map((colour) => parseInt(colour.slice(at, at + 2), 16));
    return Math.round(a + (b - a) * part);
  });
  return `rgb(${parts.join(' ')})`;
}

function heat(it) {
  const canvas = at('heat');
  const { columns, nodesEach } = it.heat;
  const rows = it.members.length;
  const each = nodesEach > 1 ? ` Each column is up to ${nodesEach} nodes of one zone, the slowest of them shown.` : '';
  setText(at('heat-says'), columns.length && rows ? `${count(rows, 'member')}, one row each, in the order ${it.members.map((m) => m.name).join(', ')}.${each}` : 'Nothing is measured yet.');
  canvas.hidden = !columns.length || !rows;
  if (canvas.hidden) return;
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const [near, far, none, mark, line] = ['--near', '--far', '--none', '--mark', '--back'].map(colour);
  const ratio = Math.min(2, window.devicePixelRatio || 1);
  const wide = canvas.parentElement.clientWidth;
  const tall = rows * Math.max(10, Math.min(26, 180 / rows));
  if (canvas.width !== Math.round(wide * ratio) || canvas.height !== Math.round(tall * ratio)) {
    canvas.width = Math.round(wide * ratio);
    canvas.height = Math.round(tall * ratio);
    canvas.style.height = `${tall}px`;
  }
  const context = canvas.getContext('2d');
  const w = canvas.width / columns.length;
  const h = canvas.height / rows;
  const scale = range(it);
  const known = new Map();
  columns.forEach((column, x) => column.rttUs.forEach((us, y) => {
    let fill = none;
    if (us !== null) {
      fill = known.get(us);
      if (!fill) { fill = shade(us, scale, near, far); known.set(us, fill); }
    }
    context.fillStyle = fill;
    context.fillRect(x * w, y * h, Math.ceil(w), h);
  }));
  context.fillStyle = line;
  for (let x = 1; x < columns.length; x += 1) if (columns[x].zone !== columns[x - 1].zone) context.fillRect(x * w - ratio, 0, 2 * ratio, canvas.height);
  for (let y = 1; y < rows; y += 1) context.fillRect(0, y * h - ratio / 2, canvas.width, ratio);
  if (cell.shown) {
    cell.column = Math.min(cell.column, columns.length - 1);
    cell.member = Math.min(cell.member, rows - 1);
    context.strokeStyle = mark;
    context.lineWidth = 2 * ratio;
    context.strokeRect(cell.column * w, cell.member * h + ratio, Math.max(w, 4 * ratio), h - 2 * ratio);
    const column = columns[cell.column];
    const member = it.members[cell.member];
    const who = column.last ? `${count(column.nodes, 'node')} from ${column.first} to ${column.last}` : column.first;
    setText(at('cell'), `${who} (${column.zone || 'no zone'}) → ${member.name}: ${ms(column.rttUs[cell.member])}${column.last ? ' at most' : ''}; ${column.tier}; ${count(column.pods, 'pod')}`);
  }
  const bar = at('scale').getContext('2d');
  for (let x = 0; x < 120; x += 1) { bar.fillStyle = mix(x / 120, near, far); bar.fillRect(x, 0, 1, 12); }
}

function choose(column, member) {
  const it = state && state.database;
  if (!it) return;
  cell.column = Math.max(0, Math.min(it.heat.columns.length - 1, column));
  cell.member = Math.max(0, Math.min(it.members.length - 1, member));
  cell.shown = true;
  heat(it);
}

function moving(it) {
  const more = it.movingTotal - it.moving.length;
  setText(at('moving-says'), it.movingTotal === 0 ? 'None.' : more > 0 ? `${it.movingTotal} in all; the first ${it.moving.length}:` : '');
  const place = (node, zone) => node ? (zone ? `${node} (${zone})` : node) : 'where the scheduler puts it';
  table('moving', ['Pod', 'Workload', 'From', 'To', 'By', 'Since'], it.moving.map((m) =>
    [m.pod, m.workload, place(m.from, m.fromZone), place(m.to, m.toZone), m.failed ? `${m.action}: not Ready in time` : m.action, age(m.startedAt)]));
}

function held(it) {
  const more = it.heldTotal - it.held.length;
  setText(at('held-says'), it.held.length === 0 ? 'None.' : more > 0 ? `… and ${more} more` : '');
  table('held', ['Workload', 'Pods', 'Reason', 'Why', 'Passes by itself'], it.held.map((h) =>
    [h.workload, String(h.pods), h.reason, h.message, h.passes ? 'yes' : 'no']));
}

function readiness(it) {
  setText(at('readiness-says'), it.readiness.length ? '' : 'Nothing is known of it yet.');
  const missing = (row) => Object.entries(row.missing || {}).map(([what, amount]) => `${amount} ${what}`).join(', ') || '–';
  table('readiness', ['Member', 'Ready', 'Why', 'Followers', 'Would move', 'No place', 'Blocked', 'Missing', 'Takes'], it.readiness.map((row) =>
    [row.member, row.reason, row.message, String(row.followers), String(row.wouldMove), String(row.wouldNotFit), String(row.blocked), missing(row), `${row.seconds} s`]));
}

function conditions(it) {
  table('conditions', ['Condition', 'Status', 'Reason', 'Message', 'Since'], it.conditions.map((c) =>
    [c.type, c.status, c.reason, c.message, age(c.since)]));
}

const SVG = 'http://www.w3.org/2000/svg';
function timeline(row) {
  const start = Date.parse(row.confirmedAt);
  const end = Date.parse(row.movedAt);
  if (!(end > start)) return null;
  const x = (time) => 1000 * (Date.parse(time) - start) / (end - start);
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 1000 30');
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('aria-hidden', 'true');
  const part = (from, to, name) => {
    if (!(to > from)) return;
    const rect = document.createElementNS(SVG, 'rect');
    for (const [key, value] of Object.entries({ x: from, y: 6, width: to - from, height: 18, class: name })) rect.setAttribute(key, String(value));
    svg.append(rect);
  };
  const first = row.firstMoveAt ? x(row.firstMoveAt) : 1000;
  const last = row.lastMoveAt ? Math.max(first + 3, x(row.lastMoveAt)) : first;
  const labelled = row.labelledAt ? Math.min(first, x(row.labelledAt)) : 0;
  part(0, labelled, 'bar-line');
  part(labelled, first, 'bar-wait');
  part(first, last, 'bar-move');
  part(last, 1000, 'bar-rest');
  return svg;
}

function change(row) {
  const item = make('li');
  item.append(make('h3', `${row.epoch}: ${row.from || 'nobody'} → ${row.to}${row.why ? ` (${row.why})` : ''}, ${row.confirmedAt || 'at an unknown time'}`));
  const drawn = timeline(row);
  if (drawn) item.append(drawn);
  const after = (time) => `+${((Date.parse(time) - Date.parse(row.confirmedAt)) / 1000).toFixed(1)} s`;
  const steps = [[row.labelledAt, 'every node has its label'], [row.firstMoveAt, 'the first move begins'], [row.lastMoveAt, 'the last move begins'],
    [row.movedAt, `the movement is over: ${row.moved} moved, ${row.held} held`], [row.endedAt, 'the primary changes again']];
  const moments = make('ol');
  for (const [time, what] of steps) if (time && row.confirmedAt) moments.append(make('li', `${after(time)}: ${what}`));
  item.append(moments);
  const says = [`far for ${podTime(row.farPodSeconds)}`, `round trips ${ms(row.rttBeforeUs)} → ${ms(row.rttAfterUs)}`];
  if (row.savedPodSeconds !== null && row.savedPodSeconds !== undefined) says.push(`saved at least ${podTime(row.savedPodSeconds)} of being far`);
  const reasons = Object.entries(row.heldByReason || {}).map(([reason, pods]) => `${reason} ${pods}`);
  if (reasons.length) says.push(`held: ${reasons.join(', ')}`);
  if (row.refusedByBudgets) says.push(`${count(row.refusedByBudgets, 'eviction')} refused by budgets`);
  if (row.useless) says.push(`${count(row.useless, 'move')} in vain`);
  item.append(make('p', says.join('; ')));
  return item;
}

function history(it) {
  const drawn = JSON.stringify(it.failovers);
  if (at('history').dataset.drawn === drawn) return;
  at('history').dataset.drawn = drawn;
  at('history').replaceChildren(...it.failovers.map(change));
}

function draw() {
  connection();
  if (!state) return;
  databases();
  const it = state.database;
  at('main').querySelectorAll('section').forEach((section) => { section.hidden = !it; });
  if (!it) return;
  document.title = `${it.name}: ${it.primary || 'no primary'} · switchover`;
  now(it);
  zones(it);
  heat(it);
  moving(it);
  held(it);
  readiness(it);
  conditions(it);
  history(it);
  setText(at('reckoned'), it.failovers.some((row) => row.worth) ? state.reckoned : '');
}

async function rows() {
  const it = state && state.database;
  if (!it) return;
  nodes.asked += 1;
  const asked = nodes.asked;
  const query = new URLSearchParams({ database: it.name, text: at('filter').value, from: String(nodes.from) });
  let told;
  try {
    told = await (await fetch(`nodes?${query}`)).json();
  } catch {
    return; // The connection's own line says so.
  }
  if (asked !== nodes.asked) return;
  nodes.total = told.total;
  nodes.from = told.from;
  const last = told.from + told.rows.length;
  setText(at('rows-says'), told.total ? `${told.from + 1} to ${last} of ${told.total}` : 'no such node');
  at('before').disabled = told.from === 0;
  at('after').disabled = last >= told.total;
  table('nodes', ['Node', 'Zone', 'Tier', 'Pods', ...it.members.map((m) => m.name), 'Measured'], told.rows.map((row) => [
    row.ready ? row.cordoned ? `${row.name} (cordoned)` : row.name : `${row.name} (not ready)`, row.zone, row.tier, String(row.pods),
    ...it.members.map((_, index) => ms(row.rttUs[index])), row.heartbeat ? `${age(row.heartbeat)} ago` : 'never']));
}

function connect() {
  if (source) source.close();
  source = new EventSource(chosen ? `events?database=${encodeURIComponent(chosen)}` : 'events');
  source.addEventListener('open', () => { retry = 0; heard = Date.now(); connection(); });
  source.addEventListener('sign', () => { heard = Date.now(); connection(); });
  source.addEventListener('state', (event) => {
    heard = Date.now();
    const first = !state || !state.database;
    state = JSON.parse(event.data);
    draw();
    if (first) rows();
  });
  source.addEventListener('error', () => {
    connection();
    if (source.readyState !== EventSource.CLOSED) return; // The browser itself tries again.
    retry = Math.min(retry + 1, 5);
    setTimeout(connect, 500 * 2 ** retry);
  });
}

at('databases').addEventListener('change', (event) => {
  chosen = event.target.value;
  window.history.replaceState(null, '', `#${encodeURIComponent(chosen)}`);
  nodes.from = 0;
  state = null;
  connect();
});
let typing = 0;
at('filter').addEventListener('input', () => { nodes.from = 0; clearTimeout(typing); typing = setTimeout(rows, 150); });
at('before').addEventListener('click', () => { nodes.from = Math.max(0, nodes.from - 50); rows(); });
at('after').addEventListener('click', () => { nodes.from += 50; rows(); });
at('heat').addEventListener('keydown', (event) => {
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], PageUp: [-20, 0], PageDown: [20, 0], Home: [-1e6, 0], End: [1e6, 0] };
  const step = steps[event.key];
  if (!step) return;
  event.preventDefault();
  if (cell.shown) choose(cell.column + step[0], cell.member + step[1]); else choose(0, 0);
});
for (const name of ['pointermove', 'pointerdown']) {
  at('heat').addEventListener(name, (event) => {
    const it = state && state.database;
    if (!it) return;
    const box = event.target.getBoundingClientRect();
    choose(Math.floor((event.clientX - box.left) / box.width * it.heat.columns.length), Math.floor((event.clientY - box.top) / box.height * it.members.length));
  });
}
let resized = 0;
window.addEventListener('resize', () => { cancelAnimationFrame(resized); resized = requestAnimationFrame(draw); });
window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
setInterval(() => { connection(); if (state && state.database) { moving(state.database); conditions(state.database); } }, 1000);
setInterval(rows, 5000);
connect();
