// Bundles the page and serves it on loopback until it is ended. Usage: node serve.js [PORT]
// It prints one JSON line: {"listening": "http://localhost:PORT"}. Port 0 takes a free one.

import { servePage } from "./page-server.js";

const { origin } = await servePage(Number(process.argv[2] ?? 8080));
console.log(JSON.stringify({ listening: origin }));
