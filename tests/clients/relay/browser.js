// What the program needs of a browser and of a bundler. `fetch` and `WebSocket` stay those of Node.js.
import { registerHooks } from "node:module";
import { Window } from "happy-dom";

const window = new Window();
Object.assign(globalThis, { window, document: window.document });

// Bundlers look for the ending of a file, Node.js wants its whole name.
registerHooks({ resolve: (name, context, next) => next(name.endsWith(".graphql") ? `${name}.js` : name, context) });
