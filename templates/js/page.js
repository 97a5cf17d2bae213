"use strict";
{% include "common.js" %}
{% include "tables.js" %}
{% include "maps.js" %}
{% include "filters.js" %}
{% include "cards.js" %}
{% include "viewer.js" %}
{% include "controls.js" %}
{% include "examples.js" %}
