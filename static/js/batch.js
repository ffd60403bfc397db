// A batch's page.

import { showViewers } from "./viewer/viewer.js";

showViewers();
document.addEventListener("htmx:load", (event) => showViewers(event.target));
