// What every page has: htmx, the theme switch, menus that close, tabs that listen to arrow keys,
// words for what fails, and the time zone that one is in.

import "htmx.org";
import "./site/connection.js";
import "./site/copy.js";
import "./site/failures.js";
import "./site/mask.js";
import "./site/menus.js";
import "./site/pictures.js";
import "./site/renaming.js";
import "./site/tabs.js";
import "./site/theme.js";
import "./site/zone.js";
