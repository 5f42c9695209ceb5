import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

/** Serves the page with its bundle. `localhost`, because that is the origin a browser will name. */
export async function servePage(port = 0) {
  const here = fileURLToPath(new URL(".", import.meta.url));
  const bundle = await build({
    absWorkingDir: here,
    entryPoints: ["src/page.ts"],
    bundle: true,
    format: "esm",
    target: "es2022",
    sourcemap: "inline",
    write: false,
  });
  const files = new Map([
    ["/", ["text/html; charset=utf-8", await readFile(`${here}public/index.html`)]],
    ["/page.js", ["text/javascript; charset=utf-8", bundle.outputFiles[0].contents]],
  ]);
  const server = createServer((request, response) => {
    const file = files.get(new URL(request.url, "http://localhost").pathname);
    if (file === undefined) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { "Content-Type": file[0] }).end(file[1]);
  });
  await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "localhost", resolve);
  });
  return { origin: `http://localhost:${server.address().port}`, server };
}
