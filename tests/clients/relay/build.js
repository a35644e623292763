// Does for the program what a bundler does for a page: `node build.js FOLDER` makes chat-relay.js of chat-relay.jsx.
import { join } from "node:path";
import { writeFileSync } from "node:fs";
import { transformFileSync } from "@babel/core";

const folder = process.argv[2];
const { code } = transformFileSync(join(folder, "chat-relay.jsx"), {
  configFile: false,
  cwd: import.meta.dirname,
  presets: [["@babel/preset-react", { runtime: "automatic" }]],
  plugins: [["relay", { eagerEsModules: true }]],
});
writeFileSync(join(folder, "chat-relay.js"), code);
