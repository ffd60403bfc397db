// What every page has: htmx, the theme switch, menus that close, tabs that listen to arrow keys.

import "htmx.org";
import "./site/menus.js";
import "./site/renaming.js";
import "./site/tabs.js";
import "./site/theme.js";
