#!/bin/sh
grep -q 'Hello, world!' greeting.txt
