# pip, held to hashes, wants `name` and `name[extra]` each pinned (pip 23.2; newer ones take one for the other).
/^[a-z0-9._-]+\[[^]]*\]==/ { plain = $0; sub(/\[[^]]*\]/, "", plain); extra = $0 "\n"; plain = plain "\n"; held = 1; next }
held && /--hash/ { last = $0; sub(/ \\$/, "", last); extra = extra $0 "\n"; plain = plain (/\\$/ ? $0 : last) "\n"; next }
held { printf "%s%s", plain, extra; held = 0 }
{ print }
END { if (held) printf "%s%s", plain, extra }
