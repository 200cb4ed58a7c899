// Bundles the extension into one file, or its tests: node esbuild.mjs [--production | --tests]
import { build } from "esbuild";

const production = process.argv.includes("--production");
const tests = process.argv.includes("--tests");

await build({
  entryPoints: [tests ? "test/host/index.ts" : "src/extension.ts"],
  outfile: tests ? "out/test/index.js" : "dist/extension.js",
  bundle: true,
  external: ["vscode"],
  format: "cjs",
  platform: "node",
  target: "node20",
  minify: production,
  sourcemap: !production,
  logLevel: "warning",
});
