"use strict";
{% include "common.js" %}
