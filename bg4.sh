. /tmp/camera/env.sh
M=/work/main/.venv/bin/mesoface
$M synth --out /tmp/camera/still43 --seed 43 --views 12 --width 540 --height 960 --detail 0.8 --noise 4 --blur 0.6 --calibration-error 0.4 --highlights 10 --jpeg-quality 65 --skin-contrast 0.6
$M synth --out /tmp/camera/moving44 --seed 44 --views 8 --width 432 --height 648 --detail 0.8 --movement 0.3
$M synth --out /tmp/camera/still44 --seed 44 --views 8 --width 432 --height 648 --detail 0.8
$PY /tmp/camera/cache.py still43:/tmp/camera/still43:scale=1 moving44:/tmp/camera/moving44:scale=1 still44:/tmp/camera/still44:scale=1 lps3:/work/shared/captures/lps:scale=1:views=4
