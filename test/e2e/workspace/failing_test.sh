#!/bin/sh
echo 'This line must reach the person who looks at the failure.'
exit 3
