// Bundles the page into the folder named on the command line: index.html, and in assets/ what it loads, each file with
// a hash of its content in its name, so that browsers may keep it for good.
import { readFile, writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { build } from "esbuild";

const output = process.argv[2];
const common = {
  outdir: `${output}/assets`,
  bundle: true,
  minify: true,
  metafile: true,
  legalComments: "none",
  target: "es2022",
  assetNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  entryNames: "[name]-[hash]",
  loader: { ".graphql": "text", ".svg": "file" },
  define: { "process.env.NODE_ENV": '"production"' },
  logLevel: "warning",
};

// The name each file was given: { "main.js": "main-ABC123.js", … }
function namesGiven({ metafile }) {
  const names = Object.keys(metafile.outputs).map((path) => basename(path));
  return Object.fromEntries(names.map((name) => [name.replace(/-[A-Z0-9]{8}(?=\.\w+$)/, ""), name]));
}

// graphiql/style.css holds Monaco's styles already.
const withoutMonacoStyles = {
  name: "without-monaco-styles",
  setup: ({ onLoad }) => onLoad({ filter: /monaco-editor[\\/].*\.css$/ }, () => ({ loader: "empty", contents: "" })),
};

const workers = await build({
  ...common,
  format: "iife",
  entryPoints: {
    editor: "monaco-editor/esm/vs/editor/editor.worker.js",
    graphql: "monaco-graphql/esm/graphql.worker.js",
    json: "monaco-editor/esm/vs/language/json/json.worker.js",
  },
});
const page = await build({
  ...common,
  format: "esm",
  splitting: true,
  jsx: "automatic",
  entryPoints: ["main.jsx", "icon.svg"],
  plugins: [withoutMonacoStyles],
  define: { ...common.define, WORKERS: JSON.stringify(namesGiven(workers)) },
});

const names = namesGiven(page);
const html = await readFile("index.html", "utf8");
await writeFile(`${output}/index.html`, html.replace(/\{([\w.]+)\}/g, (_, name) => names[name]));
