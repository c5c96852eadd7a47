// Shows the server's own OpenAPI document. A key that is typed in stays in this page's memory alone.
"use strict";

const dark = window.matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

// Swagger UI says beside its lists what they are for; a screen reader has to hear it of the list.
const NAMES = [
  [".examples-select-element", "Example"],
  [".content-type", "Media type"],
  [".body-param__text", "Request body"],
  ["select", "Value"],
];
const root = document.getElementById("swagger-ui");
new MutationObserver(() => {
  // What can be scrolled, a keyboard has to reach.
  for (const one of root.querySelectorAll("pre:not([tabindex]), .responses-inner:not([tabindex])")) {
    one.tabIndex = 0;
  }
  for (const [selector, name] of NAMES) {
    for (const one of root.querySelectorAll(`${selector}:not([aria-label])`)) {
      one.setAttribute("aria-label", name);
    }
  }
}).observe(root, { childList: true, subtree: true });

window.SwaggerUIBundle({
  url: "/openapi.json",
  domNode: root,
  // The link that it would put into each operation's button is none for a keyboard.
  deepLinking: false,
  // Made when they are asked for: there are many.
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  persistAuthorization: false,
  // This server is the only one.
  plugins: [{ wrapComponents: { ServersContainer: () => () => null } }],
  queryConfigEnabled: false,
  syntaxHighlight: false,
  validatorUrl: null,
});
