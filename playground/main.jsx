import { explorerPlugin } from "@graphiql/plugin-explorer";
import { HISTORY_PLUGIN } from "@graphiql/plugin-history";
import { createGraphiQLFetcher } from "@graphiql/toolkit";
import { GraphiQL } from "graphiql";
import { createRoot } from "react-dom/client";

import "graphiql/style.css";
import "@graphiql/plugin-explorer/style.css";
import "./style.css";
import firstTab from "./conversations.graphql";
import secondTab from "./remember.graphql";
import thirdTab from "./live.graphql";

globalThis.MonacoEnvironment = {
  getWorker(_, label) {
    const file = WORKERS[`${label}.js`] ?? WORKERS["editor.js"];
    return new Worker(new URL(file, import.meta.url));
  },
};

const url = location.origin + location.pathname;
const fetcher = createGraphiQLFetcher({
  url,
  subscriptionUrl: url.replace(/^http/, "ws"),
  enableIncrementalDelivery: false,
});

createRoot(document.getElementById("playground")).render(
  <GraphiQL
    fetcher={fetcher}
    defaultTabs={[{ query: firstTab }, { query: secondTab }, { query: thirdTab }]}
    plugins={[HISTORY_PLUGIN, explorerPlugin({ showAttribution: false })]}
    inputValueDeprecation
    schemaDescription
    shouldPersistHeaders={false}
  >
    <GraphiQL.Logo>
      <span className="name">RecallQL</span>
    </GraphiQL.Logo>
  </GraphiQL>,
);
