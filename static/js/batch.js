// A batch's page, and the page of one image. Both work without this; with it there is a drawer,
// keys, and quiet polls.

import "./batch/drawer.js";
import "./batch/grid.js";
import "./batch/polls.js";
import "./batch/prefix.js";
import { showViewers } from "./viewer/viewer.js";

showViewers();
document.addEventListener("htmx:load", (event) => showViewers(event.target));
