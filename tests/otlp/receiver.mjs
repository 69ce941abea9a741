// A receiver of OTLP over HTTP: decodes what it is sent by OpenTelemetry's own definitions, and prints one JSON object for each span.
// The first request is answered 503, as one that is too busy would.
import http from 'node:http';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const root = require('@opentelemetry/otlp-transformer/build/src/generated/root');
const Request = root.opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest;

const value = (v) => v.arrayValue ? v.arrayValue.values.map(value)
  : v.stringValue ?? v.boolValue ?? v.doubleValue ?? (v.intValue === undefined ? null : Number(v.intValue));
const attributes = (list) => Object.fromEntries((list ?? []).map((a) => [a.key, value(a.value)]));
const hex = (bytes) => Buffer.from(bytes ?? []).toString('hex');

let requests = 0;
http.createServer((request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    const good = request.method === 'POST' && request.url === '/v1/traces' &&
      request.headers['content-type'] === 'application/x-protobuf' && request.headers['x-test-key'] === 'a b';
    if (!good || requests++ === 0) {
      response.writeHead(good ? 503 : 400).end();
      return;
    }
    for (const { resource, scopeSpans } of Request.decode(Buffer.concat(parts)).resourceSpans) {
      for (const { scope, spans } of scopeSpans) {
        for (const s of spans) {
          console.log(JSON.stringify({
            service: attributes(resource.attributes)['service.name'], scope: scope.name, trace: hex(s.traceId), id: hex(s.spanId),
            parent: hex(s.parentSpanId), name: s.name, kind: s.kind, begin: Number(s.startTimeUnixNano), end: Number(s.endTimeUnixNano),
            attributes: attributes(s.attributes), events: (s.events ?? []).map((e) => e.name), status: s.status?.code ?? 0,
          }));
        }
      }
    }
    response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end();
  });
}).listen(0, '127.0.0.1', function () { console.log(this.address().port); });
