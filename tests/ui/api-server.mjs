// A Kubernetes API server of 5,000 nodes and 50,000 pods that lists and watches what the page reads, with hostile names. It is told its port.
import http from 'node:http';
const member = (name, host) => ({ name, host, port: 5432 });
const db = { apiVersion: 'switchover.dev/v1alpha1', kind: 'DatabaseCluster', metadata: { name: 'orders', uid: 'u', resourceVersion: '1' }, spec: { discovery: { patroni: { urls: ['http://10.0.0.1:8008'] } } },
  status: { primary: '<script>x</script>', epoch: 2, timeline: 4, since: new Date().toISOString(), message: '<img src=x onerror=alert(1)> \u202erl', tiers: {}, ignoredTotal: 0, heldTotal: 3, heldWorkloadsTotal: 1, heldWorkloads: [{ kind: 'Deployment', namespace: '<i>shop</i>', name: 'x'.repeat(253), reason: '\u202enwod', message: '<b>why</b>', pods: 3, passes: false }],
    members: [member('pg1', 'h1'), member('<script>x</script>', 'h2')], failovers: [{ epoch: 2, from: 'pg1', to: '<script>x</script>', timeline: 4, moved: 3, held: 0, farPodSeconds: 12, confirmedAt: '2026-11-28T05:00:00Z', labelledAt: '2026-11-28T05:00:01Z', firstMoveAt: '2026-11-28T05:00:10Z', lastMoveAt: '2026-11-28T05:00:20Z', movedAt: '2026-11-28T05:00:30Z', rttBeforeUs: 20000, rttAfterUs: 300 }] } };
const N = 5000, P = 50000;
const nodes = Array.from({ length: N }, (_, i) => ({ apiVersion: 'v1', kind: 'Node', metadata: { name: i ? `n${i}` : 'y'.repeat(253), uid: `n${i}`, resourceVersion: '1', labels: { 'topology.kubernetes.io/zone': `dc${i % 3}`, 'switchover.dev/orders': i % 3 ? 'far' : 'closely' } }, status: { allocatable: { cpu: '4', memory: '8Gi', pods: '110' }, conditions: [{ type: 'Ready', status: 'True' }] } }));
const lats = nodes.map((n, i) => ({ apiVersion: 'switchover.dev/v1alpha1', kind: 'NodeLatency', metadata: { name: n.metadata.name, resourceVersion: '1' }, spec: { heartbeat: new Date().toISOString(), memberCount: 2, readings: [{ host: 'h1', rttUs: 20000 + i }, { host: 'h2', rttUs: 300 + i % 3 * 9000 }] } }));
const pods = Array.from({ length: P }, (_, i) => ({ apiVersion: 'v1', kind: 'Pod', metadata: { name: `p${i}`, namespace: 'shop', uid: `p${i}`, resourceVersion: '1', creationTimestamp: '2026-01-01T00:00:00Z' }, spec: { nodeName: nodes[i % N].metadata.name, containers: [{ name: 'c' }] }, status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] } }));
const ns = [{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop', uid: 'ns', resourceVersion: '1', labels: { 'switchover.dev/follow': 'orders' } } }];
const all = { databaseclusters: [db], nodelatencies: lats, nodes, namespaces: ns, pods };
http.createServer((q, r) => {
  const u = new URL(q.url, 'http://x'); const kind = u.pathname.split('/').pop(); const items = all[kind];
  r.setHeader('content-type', 'application/json');
  if (!items) { r.statusCode = 404; return r.end(JSON.stringify({ kind: 'Status', apiVersion: 'v1', status: 'Failure', code: 404, message: 'no', reason: 'NotFound' })); }
  if (u.searchParams.get('watch')) { const t = setTimeout(() => r.end(), 1000 * +(u.searchParams.get('timeoutSeconds') || 15)); q.on('close', () => clearTimeout(t)); r.flushHeaders(); return; }
  const limit = +(u.searchParams.get('limit') || 1e9), from = +(u.searchParams.get('continue') || 0), to = Math.min(items.length, from + limit);
  const first = items[0]; const meta = { resourceVersion: '1' }; if (to < items.length) meta.continue = String(to);
  r.end(JSON.stringify({ kind: (first.kind) + 'List', apiVersion: first.apiVersion, metadata: meta, items: items.slice(from, to) }));
}).listen(Number(process.argv[2]), '127.0.0.1', () => console.log('listening'));
